// A video that plays with a take's tracks, its own sound, or both. The picture is the clock.

const MAX_DRIFT_S = 0.05;
const GLIDE_S = 0.015; // of a gain that changes: no click
const LINEAR_TO = 0.9; // takes peak below
const LOUDEST = 4;

export class Player {
  constructor(video, onChange) {
    Object.assign(this, { video, onChange, parts: [], sources: [], mix: 0, volume: 1, original: false });
    this.levels = {};
    this.channels = new Map();
    for (const event of ["playing", "seeked"]) {
      video.addEventListener(event, () => !video.paused && this.startSound());
    }
    for (const event of ["pause", "waiting", "seeking", "ended", "emptied"]) {
      video.addEventListener(event, () => this.stopSound());
    }
    for (const event of ["play", "pause", "ended", "seeked"]) video.addEventListener(event, onChange);
  }

  // Tracks → share of the take → peaks held below full scale → meter, clicks → volume → loudspeaker.
  get context() {
    if (!this.made) {
      this.made = new AudioContext();
      this.gain = this.made.createGain();
      const quieter = new GainNode(this.made, { gain: 1 / LOUDEST });
      const limit = new WaveShaperNode(this.made, { curve: softLimit() });
      this.meter = this.made.createAnalyser();
      this.loudness = this.made.createGain();
      this.gain.connect(quieter).connect(limit).connect(this.meter);
      this.meter.connect(this.loudness).connect(this.made.destination);
    }
    return this.made;
  }

  // Where other sounds are mixed into the output.
  get output() {
    void this.context;
    return this.meter;
  }

  // Output latency in seconds; pictures are shown without.
  get latency() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  decode(bytes) {
    return this.context.decodeAudioData(bytes);
  }

  // A take's tracks, `{name, buffer, gain}` (none for silence), or the video's own sound.
  listen(parts, original) {
    Object.assign(this, { parts, original });
    this.balance(this.mix);
    this.setLevels(this.levels);
    if (!this.video.paused) this.startSound();
  }

  balance(mix) {
    this.mix = mix;
    this.video.volume = (this.original ? 1 : mix) * this.volume;
    void this.context;
    this.gain.gain.value = this.original ? 0 : 1 - mix;
  }

  setVolume(volume) {
    this.volume = volume;
    this.balance(this.mix);
    this.loudness.gain.setTargetAtTime(volume, this.context.currentTime, GLIDE_S);
  }

  // Gains of tracks by name; those that are not named play as they are.
  setLevels(levels) {
    this.levels = levels;
    for (const { name, gain } of this.parts) {
      this.channel(name).gain.gain.setTargetAtTime(gain * (levels[name] ?? 1), this.context.currentTime, GLIDE_S);
    }
  }

  channel(name) {
    if (!this.channels.has(name)) {
      const channel = { gain: new GainNode(this.context), meter: new AnalyserNode(this.context, { fftSize: 1024 }) };
      channel.gain.connect(channel.meter).connect(this.gain);
      this.channels.set(name, channel);
    }
    return this.channels.get(name);
  }

  async toggle() {
    await this.context.resume();
    if (this.video.paused) await this.video.play();
    else this.video.pause();
  }

  seek(seconds) {
    this.video.currentTime = seconds;
  }

  // Called while drawing: sound that ran away from the picture is put back.
  keepInStep() {
    if (!this.sources.length || this.video.paused || this.video.seeking) return;
    const playedS = this.context.currentTime - this.startedAt + this.startedFrom - this.latency;
    if (Math.abs(playedS - this.video.currentTime) > MAX_DRIFT_S) this.startSound();
  }

  // All tracks from one sample on, at one instant.
  startSound() {
    this.stopSound();
    const from = this.video.currentTime + this.latency;
    const at = this.context.currentTime;
    for (const { name, buffer } of this.parts) {
      if (from >= buffer.duration) continue;
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(this.channel(name).gain);
      source.start(at, from);
      this.sources.push(source);
    }
    Object.assign(this, { startedAt: at, startedFrom: from });
  }

  stopSound() {
    for (const source of this.sources) source.stop();
    this.sources = [];
  }

  // Root mean square of what is heard now, before the volume; of one track where it is named.
  level(name) {
    if (!this.made) return 0;
    const meter = name === undefined ? this.meter : this.channel(name).meter;
    const samples = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
  }
}

// Of a sound turned down to a quarter: as it was up to 0.9, bent to 1 above.
function softLimit() {
  const room = 1 - LINEAR_TO;
  const bend = (x) => (x <= LINEAR_TO ? x : LINEAR_TO + room * Math.tanh((x - LINEAR_TO) / room));
  return Float32Array.from({ length: 8001 }, (_, k) => {
    const x = LOUDEST * (k / 4000 - 1);
    return Math.sign(x) * bend(Math.abs(x));
  });
}

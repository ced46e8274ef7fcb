// A video that plays with a take's sound, its own, or both. The picture is the clock.

const MAX_DRIFT_S = 0.05;

export class Player {
  constructor(video, onChange) {
    Object.assign(this, { video, onChange, buffer: null, source: null, mix: 0, original: false });
    for (const event of ["playing", "seeked"]) {
      video.addEventListener(event, () => !video.paused && this.startSound());
    }
    for (const event of ["pause", "waiting", "seeking", "ended", "emptied"]) {
      video.addEventListener(event, () => this.stopSound());
    }
    for (const event of ["play", "pause", "ended", "seeked"]) video.addEventListener(event, onChange);
  }

  get context() {
    if (!this.made) {
      this.made = new AudioContext();
      this.gain = this.made.createGain();
      this.meter = this.made.createAnalyser();
      this.gain.connect(this.meter).connect(this.made.destination);
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

  // A take's sound (null for none), or the video's own.
  listen(buffer, original) {
    Object.assign(this, { buffer, original });
    this.balance(this.mix);
    if (!this.video.paused) this.startSound();
  }

  balance(mix) {
    this.mix = mix;
    this.video.volume = this.original ? 1 : mix;
    void this.context;
    this.gain.gain.value = this.original ? 0 : 1 - mix;
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
    if (!this.source || this.video.paused || this.video.seeking) return;
    const playedS = this.context.currentTime - this.startedAt + this.startedFrom - this.latency;
    if (Math.abs(playedS - this.video.currentTime) > MAX_DRIFT_S) this.startSound();
  }

  startSound() {
    this.stopSound();
    const from = this.video.currentTime + this.latency;
    if (!this.buffer || from >= this.buffer.duration) return;
    this.source = this.context.createBufferSource();
    this.source.buffer = this.buffer;
    this.source.connect(this.gain);
    this.source.start(0, from);
    this.startedAt = this.context.currentTime;
    this.startedFrom = from;
  }

  stopSound() {
    this.source?.stop();
    this.source = null;
  }

  // Root mean square of the take at the playback position.
  level() {
    if (!this.made) return 0;
    const samples = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
  }
}

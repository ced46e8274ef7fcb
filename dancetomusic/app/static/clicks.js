// A click on every beat of a video, in step with its picture and sound.

const AHEAD_S = 0.5; // the page may be busy for as long
const EVERY_MS = 40;
const MEMORY = 9; // readings of the video's clock that are compared

export class ClickTrack {
  constructor(player, video) {
    Object.assign(this, { player, video, beats: [], on: false, muted: false, volume: 0.6, pending: [], clocks: [] });
    this.next = -Infinity; // beats up to this time are on their way
    for (const event of ["pause", "waiting", "seeking", "ended", "emptied"]) {
      video.addEventListener(event, () => this.restart());
    }
    setInterval(() => this.schedule(), EVERY_MS);
  }

  // Which beats, whether they click, and how loud; what was on its way is taken back.
  set(values) {
    Object.assign(this, values);
    if (this.gain) this.gain.gain.value = this.volume;
    this.silence();
  }

  restart() {
    this.silence();
    this.clocks = [];
  }

  silence() {
    for (const { source, at } of this.pending) if (at > this.context.currentTime) source.stop();
    this.pending = [];
    this.next = -Infinity;
  }

  get context() {
    return this.player.context;
  }

  schedule() {
    const { video } = this;
    if (!this.on || this.muted || video.paused || video.seeking || video.readyState < 3) return;
    const { context } = this;
    if (context.state !== "running") {
      context.resume();
      return;
    }
    this.clocks = [...this.clocks, context.currentTime - video.currentTime].slice(-MEMORY);
    const clock = [...this.clocks].sort((a, b) => a - b)[this.clocks.length >> 1];
    const now = context.currentTime;
    for (const [beat, number] of this.beats) {
      const at = beat + clock - this.player.latency;
      if (beat <= this.next || at < now) continue;
      if (at > now + AHEAD_S) break;
      this.click(at, number === 1);
      this.next = beat;
    }
    this.pending = this.pending.filter((click) => click.at > now - 1);
  }

  click(at, accent) {
    if (!this.gain) {
      this.gain = this.context.createGain();
      this.gain.gain.value = this.volume;
      this.gain.connect(this.player.output);
      this.sounds = [2200, 1300].map((frequency) => blip(this.context, frequency));
    }
    const source = this.context.createBufferSource();
    source.buffer = this.sounds[accent ? 0 : 1];
    source.connect(this.gain);
    source.start(at);
    this.pending.push({ source, at });
  }
}

function blip(context, frequency) {
  const buffer = context.createBuffer(1, Math.round(0.06 * context.sampleRate), context.sampleRate);
  const samples = buffer.getChannelData(0);
  for (let n = 0; n < samples.length; n += 1) {
    const time = n / context.sampleRate;
    samples[n] = Math.sin(2 * Math.PI * frequency * time) * Math.min(1, time / 0.001) * Math.exp(-time / 0.012);
  }
  return buffer;
}

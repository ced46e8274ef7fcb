// The whole of a dance: its sound above a line, the movement below it, the beats across.

const SOUND_SHARE = 0.6;
export const EDGE = 14;

export class Timeline {
  constructor(canvas, onSeek) {
    Object.assign(this, { canvas, onSeek, beats: [], energy: null, sound: null, now: 0, duration: 0 });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.seekTo(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && this.seekTo(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(values) {
    Object.assign(this, values);
    this.peaks = null;
    this.canvas.setAttribute("aria-valuemax", this.duration.toFixed(1));
    this.draw();
  }

  moveTo(seconds) {
    this.now = seconds;
    this.canvas.setAttribute("aria-valuenow", seconds.toFixed(1));
    this.canvas.setAttribute("aria-valuetext", `${seconds.toFixed(1)} of ${this.duration.toFixed(1)} seconds`);
    this.draw();
  }

  seekTo(event) {
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - EDGE) / (box.width - 2 * EDGE);
    this.onSeek(Math.min(1, Math.max(0, share)) * this.duration);
  }

  key(event) {
    const times = this.beats.map(([time]) => time);
    const next = times.find((time) => time > this.now + 0.02) ?? this.duration;
    const before = times.filter((time) => time < this.now - 0.15).pop() ?? 0;
    const target = { ArrowRight: next, ArrowUp: next, ArrowLeft: before, ArrowDown: before, Home: 0, End: this.duration }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.onSeek(target);
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    if (!this.duration) return;
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const x = (time) => EDGE + (time / this.duration) * (width - 2 * EDGE);
    const middle = height * SOUND_SHARE;
    this.drawBeats(pen, x, height, middle, colour);
    this.drawSound(pen, x, middle, width, colour);
    this.drawEnergy(pen, x, middle, height, colour);
    pen.fillStyle = colour("--ink");
    pen.fillRect(x(this.now) - 1, 0, 2, height);
    pen.beginPath();
    pen.arc(x(this.now), middle, 5, 0, 2 * Math.PI);
    pen.fill();
  }

  drawBeats(pen, x, height, middle, colour) {
    pen.font = `600 11px ${getComputedStyle(this.canvas).fontFamily}`;
    let bar = 0;
    let labelled = -Infinity;
    for (const [time, number] of this.beats) {
      const at = Math.round(x(time)) + 0.5;
      const first = number === 1;
      pen.strokeStyle = first ? colour("--soft") : colour("--line");
      pen.lineWidth = first ? 1.5 : 1;
      pen.beginPath();
      pen.moveTo(at, first ? 20 : 30);
      pen.lineTo(at, height - 8);
      pen.stroke();
      bar += first;
      if (first && at - labelled > 26) {
        pen.fillStyle = colour("--soft");
        pen.fillText(bar, at - 3, 14);
        labelled = at;
      }
    }
  }

  drawSound(pen, x, middle, width, colour) {
    if (!this.sound) return;
    const bars = Math.floor((width - 2 * EDGE) / 3);
    if (!this.peaks || this.peaks.length !== bars) this.peaks = peaksOf(this.sound, bars);
    const room = middle - 28;
    for (let bar = 0; bar < bars; bar += 1) {
      const time = (bar / bars) * this.duration;
      const tall = Math.max(1.5, this.peaks[bar] * room);
      pen.globalAlpha = time <= this.now ? 1 : 0.5;
      pen.fillStyle = colour("--warm-fill");
      pen.beginPath();
      pen.roundRect(x(time), middle - 3 - tall, 2, tall, 1);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  drawEnergy(pen, x, middle, height, colour) {
    if (!this.energy) return;
    const { values: energy, rate } = this.energy;
    const room = height - middle - 14;
    pen.beginPath();
    pen.moveTo(x(0), middle + 3);
    energy.forEach((value, k) => pen.lineTo(x(Math.min(this.duration, k / rate)), middle + 3 + value * room));
    pen.lineTo(x(this.duration), middle + 3 + (energy.at(-1) ?? 0) * room);
    pen.lineTo(x(this.duration), middle + 3);
    pen.fillStyle = colour("--cool-fill");
    pen.globalAlpha = 0.7;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

function peaksOf({ values, peak }, count) {
  return Float32Array.from({ length: count }, (_, k) => {
    const start = Math.floor((k * values.length) / count);
    const part = values.slice(start, Math.max(start + 1, Math.floor(((k + 1) * values.length) / count)));
    return Math.max(0, ...part) / peak;
  });
}

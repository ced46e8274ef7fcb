// A few seconds around what is seen now, with beats that can be taken hold of.

import { nearest } from "./beats.js";

const SPAN_S = 8;
const LEAST_PX_PER_S = 72;
const GRIP_Y = 20;
const GRIP = 11;
const REACH = { mouse: 12, pen: 16, touch: 24 };
const STILL_PX = 4;

export class BeatStrip {
  // `on` has seek(seconds), grab(index), drag(index, seconds), drop(index), press(index).
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, beats: [], energy: null, sound: null, duration: 0, now: 0, held: null });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.release());
    canvas.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(values) {
    Object.assign(this, values);
    this.draw();
  }

  moveTo(seconds) {
    if (this.held) return; // what is held stays under the pointer
    this.now = seconds;
    this.draw();
  }

  get scale() {
    return Math.max(LEAST_PX_PER_S, this.canvas.clientWidth / SPAN_S);
  }

  x(time) {
    return this.canvas.clientWidth / 2 + (time - this.now) * this.scale;
  }

  // The beat under a pointer, or -1.
  under(event) {
    if (!this.beats.length) return -1;
    const time = this.now + (this.at(event) - this.canvas.clientWidth / 2) / this.scale;
    const index = nearest(this.beats, time);
    const near = Math.abs(this.x(this.beats[index][0]) - this.at(event)) <= (REACH[event.pointerType] ?? REACH.mouse);
    return near ? index : -1;
  }

  at(event) {
    return event.clientX - this.canvas.getBoundingClientRect().left;
  }

  down(event) {
    if (event.button || this.held) return;
    this.canvas.setPointerCapture(event.pointerId);
    const index = this.under(event);
    const from = index < 0 ? this.now : this.beats[index][0];
    this.held = { index, from, start: this.at(event), moved: false, id: event.pointerId };
    this.point(index);
  }

  move(event) {
    const { held } = this;
    if (!held) {
      this.point(this.under(event));
      return;
    }
    if (event.pointerId !== held.id) return;
    const by = this.at(event) - held.start;
    if (!held.moved && Math.abs(by) < STILL_PX) return;
    if (!held.moved && held.index >= 0) this.on.grab(held.index);
    held.moved = true;
    if (held.index >= 0) {
      this.on.drag(held.index, held.from + by / this.scale);
      return;
    }
    this.now = Math.min(this.duration, Math.max(0, held.from - by / this.scale));
    this.on.seek(this.now);
    this.draw();
  }

  up(event) {
    const { held } = this;
    if (!held || event.pointerId !== held.id) return;
    this.release();
    if (held.index >= 0 && !held.moved) this.on.press(held.index);
  }

  release() {
    const { held } = this;
    this.held = null;
    if (held?.moved && held.index >= 0) this.on.drop(held.index);
    this.draw();
  }

  point(index) {
    this.canvas.style.cursor = index === null || index < 0 ? "ew-resize" : this.held ? "grabbing" : "grab";
    if (this.pointed === index) return;
    this.pointed = index;
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !this.duration) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const [top, bottom] = [GRIP_Y + GRIP + 6, height - 6];
    const middle = top + (bottom - top) * 0.62;
    const start = Math.max(0, this.now - width / 2 / this.scale);
    const end = Math.min(this.duration, this.now + width / 2 / this.scale);
    pen.fillStyle = colour("--sunken"); // before the video starts, and after it
    pen.fillRect(0, 0, this.x(0), height);
    pen.fillRect(this.x(this.duration), 0, width, height);
    this.drawCurves(pen, { start, end, top, middle, bottom }, colour);
    pen.fillStyle = colour("--ink");
    pen.fillRect(width / 2 - 1, 0, 2, height);
    this.drawBeats(pen, { start, end, bottom }, colour, style.fontFamily);
  }

  drawCurves(pen, { start, end, top, middle, bottom }, colour) {
    if (this.sound) {
      const { values, rate, peak } = this.sound;
      const step = Math.max(1, Math.round((rate * 3) / this.scale));
      pen.fillStyle = colour("--warm-fill");
      for (let k = Math.floor((start * rate) / step) * step; k < Math.min(values.length, end * rate); k += step) {
        let tall = 0;
        for (let n = k; n < Math.min(values.length, k + step); n += 1) tall = Math.max(tall, values[n]);
        tall = Math.max(1, (tall / peak) * (middle - top));
        pen.fillRect(this.x(k / rate), middle - 2 - tall, Math.max(1, (step / rate) * this.scale - 1), tall);
      }
    }
    if (!this.energy) return;
    const { values, rate } = this.energy;
    pen.beginPath();
    pen.moveTo(this.x(start), middle + 1);
    for (let k = Math.floor(start * rate); k <= Math.min(values.length - 1, Math.ceil(end * rate)); k += 1) {
      pen.lineTo(this.x(Math.min(this.duration, Math.max(start, k / rate))), middle + 1 + values[k] * (bottom - middle - 4));
    }
    pen.lineTo(this.x(end), middle + 1);
    pen.fillStyle = colour("--cool-fill");
    pen.fill();
  }

  drawBeats(pen, { start, end, bottom }, colour, family) {
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    this.beats.forEach(([time, number], index) => {
      if (time < start - 0.3 || time > end + 0.3) return;
      const [at, first, chosen] = [this.x(time), number === 1, index === this.pointed];
      pen.strokeStyle = colour(first ? "--warm" : "--soft");
      pen.lineWidth = chosen ? 3 : first ? 2 : 1;
      pen.beginPath();
      pen.moveTo(at, GRIP_Y + GRIP);
      pen.lineTo(at, bottom);
      pen.stroke();
      pen.beginPath();
      pen.arc(at, GRIP_Y, GRIP, 0, 2 * Math.PI);
      pen.fillStyle = colour(first ? "--warm" : "--surface");
      pen.fill();
      pen.stroke();
      pen.fillStyle = colour(first ? "--on-main" : "--ink");
      pen.font = `600 12px ${family}`;
      pen.fillText(number, at, GRIP_Y + 0.5);
    });
  }
}

// The notes of a take under its waveform: pitched tracks above, drums below, sections and hits on top.

import { EDGE } from "./timeline.js";

const [SECTIONS_PX, HITS_PX, FOOT_PX] = [18, 14, 6];
const DRUMS_SHARE = 0.32;
const LEAST_PX = 1.5; // of a note
const LEAST_PITCHES = 18; // shown, so that a single voice is no wall
const LOWEST_ALPHA = 0.45;

export class PianoRoll {
  constructor(canvas, legend, onSeek) {
    Object.assign(this, { canvas, legend, score: null, beats: [], levels: {}, duration: 0, now: 0, still: null });
    const seek = ({ clientX }) => {
      const box = canvas.getBoundingClientRect();
      const share = (clientX - box.left - EDGE) / (box.width - 2 * EDGE);
      onSeek(Math.min(1, Math.max(0, share)) * this.duration);
    };
    canvas.addEventListener("pointerdown", (event) => (canvas.setPointerCapture(event.pointerId), seek(event)));
    canvas.addEventListener("pointermove", (event) => event.buttons && seek(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  // `score` as the server describes it, or null for none; `levels` of its tracks.
  show(values) {
    Object.assign(this, values);
    this.canvas.hidden = this.legend.hidden = !this.score;
    if (!this.score) return;
    const { tracks, sections, hits } = this.score;
    const counts = tracks.map(({ name, notes }) => `${notes.length} of ${name}`).join(", ");
    const form = sections.map(([name]) => name).join(", ");
    this.canvas.setAttribute("aria-label", `Notes: ${counts}. Sections: ${form}. ${hits.length} hits of the dance.`);
    this.showLegend();
    this.redraw();
  }

  showLegend() {
    const names = [...this.score.tracks.map(({ name }) => name), "hits of the dance"];
    this.legend.replaceChildren(
      ...names.map((name, index) => {
        const item = Object.assign(document.createElement("span"), { textContent: name });
        if (index < this.score.tracks.length) item.dataset.track = index % 4;
        else item.className = "key-hit";
        return item;
      }),
    );
  }

  moveTo(seconds) {
    this.now = seconds;
    this.draw();
  }

  redraw() {
    this.still = null;
    this.draw();
  }

  x(time) {
    return EDGE + (time / this.duration) * (this.canvas.clientWidth - 2 * EDGE);
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (!this.score || !this.duration || !width) return;
    this.still ??= this.drawStill(width, height, scale);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.drawImage(this.still, 0, 0);
    pen.scale(scale, scale);
    pen.fillStyle = getComputedStyle(canvas).getPropertyValue("--ink");
    pen.fillRect(this.x(this.now) - 1, 0, 2, canvas.clientHeight);
  }

  // All that does not move with the video.
  drawStill(width, height, scale) {
    const still = Object.assign(document.createElement("canvas"), { width, height });
    const pen = still.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name);
    const [top, bottom] = [SECTIONS_PX + HITS_PX, this.canvas.clientHeight - FOOT_PX];
    const divide = bottom - (bottom - top) * DRUMS_SHARE;
    this.drawBars(pen, bottom, colour);
    this.drawSections(pen, colour, style.fontFamily);
    this.drawHits(pen, top, bottom, colour);
    this.drawNotes(pen, { top, divide, bottom }, colour);
    return still;
  }

  drawBars(pen, bottom, colour) {
    for (const [time, number] of this.beats) {
      pen.fillStyle = colour(number === 1 ? "--soft" : "--line");
      pen.globalAlpha = number === 1 ? 0.55 : 1;
      pen.fillRect(Math.round(this.x(time)), SECTIONS_PX + (number === 1 ? 0 : HITS_PX), 1, bottom - SECTIONS_PX);
    }
    pen.globalAlpha = 1;
  }

  drawSections(pen, colour, family) {
    pen.font = `600 11px ${family}`;
    pen.textBaseline = "middle";
    this.score.sections.forEach(([name, start, end]) => {
      const [left, right] = [this.x(start) + 1, this.x(end) - 1];
      pen.fillStyle = colour("--line");
      pen.fillRect(left, 2, right - left, SECTIONS_PX - 4);
      pen.fillStyle = colour("--ink");
      if (pen.measureText(name).width < right - left - 8) pen.fillText(name, left + 5, SECTIONS_PX / 2 + 0.5);
    });
  }

  // A mark on top, the larger the stronger, and a faint line through the notes that answer.
  drawHits(pen, top, bottom, colour) {
    pen.fillStyle = colour("--hit");
    for (const [time, strength] of this.score.hits) {
      const [at, half] = [this.x(time), 3 + 2.5 * strength];
      pen.globalAlpha = 0.3;
      pen.fillRect(at - 0.5, top, 1, bottom - top);
      pen.globalAlpha = 1;
      pen.beginPath();
      pen.moveTo(at - half, top - 2 - 1.6 * half);
      pen.lineTo(at + half, top - 2 - 1.6 * half);
      pen.lineTo(at, top - 2);
      pen.fill();
    }
  }

  drawNotes(pen, { top, divide, bottom }, colour) {
    const pitched = this.score.tracks.filter(({ is_drum: drum }) => !drum).flatMap(({ notes }) => notes.map(([, , pitch]) => pitch));
    const drums = this.score.tracks.filter(({ is_drum: drum }) => drum).flatMap(({ notes }) => notes.map(([, , pitch]) => pitch));
    const kinds = [...new Set(drums)].sort((a, b) => a - b);
    const [low, high] = pitched.reduce(([a, b], pitch) => [Math.min(a, pitch), Math.max(b, pitch)], [127, 0]);
    const span = Math.max(LEAST_PITCHES, high - low + 1);
    const [tone, lane] = [(divide - top - 4) / span, (bottom - divide) / Math.max(4, kinds.length)];
    this.score.tracks.forEach(({ name, is_drum: drum, notes }, index) => {
      pen.fillStyle = colour(`--track-${index % 4}`);
      const silent = this.levels[name] === 0;
      for (const [start, end, pitch, velocity] of notes) {
        const tall = Math.max(2, (drum ? lane : tone) - 1);
        const y = drum ? bottom - (kinds.indexOf(pitch) + 1) * lane : divide - 4 - (pitch - low + 1) * tone;
        const wide = drum ? Math.max(2, Math.min(4, lane)) : Math.max(LEAST_PX, this.x(end) - this.x(start) - 0.5);
        pen.globalAlpha = silent ? 0.12 : LOWEST_ALPHA + (1 - LOWEST_ALPHA) * (velocity / 127);
        pen.fillRect(this.x(start), y, wide, tall);
      }
    });
    pen.globalAlpha = 1;
  }
}

// What is known of the beat, and what the person makes of it: readings to choose from, and corrections.

import * as edit from "./beats.js";
import { ClickTrack } from "./clicks.js";
import { BeatStrip } from "./strip.js";

const SOURCES = { sound: "Beats from the video's sound", movement: "Beats from the movement", file: "Beats given" };
const NUDGE_S = 0.01;
const MIN_TAPS = 4;
const METRES = [2, 3, 4, 5, 6, 7, 8];
const inBar = (metre) => `${metre} beats`;
const UNDO_STEPS = 200;
const $ = (id) => document.getElementById(id);

export class BeatPanel {
  // `onChange()` follows every change; `read({beats_from, dancers})` asks the server and gives an analysis,
  // or nothing where that did not come about.
  constructor(player, { onChange, read }) {
    Object.assign(this, { player, onChange, read, states: [], taps: null });
    this.video = $("video");
    this.clicks = new ClickTrack(player, this.video);
    this.strip = new BeatStrip($("strip"), {
      seek: (seconds) => player.seek(seconds),
      grab: (index) => (this.grabbed = { beats: this.beats, time: this.beats[index][0], index }),
      drag: (index, time) => this.drag(time),
      drop: () => this.drop(),
      press: (index) => this.change((beats) => edit.setDownbeat(beats, index)),
    });
    $("metre").append(...METRES.map((metre) => new Option(inBar(metre), metre)));
    this.listenToTools();
    this.listenToTaps();
  }

  listenToTools() {
    const on = (id, act) => $(id).addEventListener("click", act);
    on("half", () => this.change(edit.half));
    on("double", () => this.change(edit.double));
    on("earlier", () => this.nudge(-NUDGE_S));
    on("later", () => this.nudge(NUDGE_S));
    on("beat-one", () => this.change((beats) => edit.setDownbeat(beats, edit.nearest(beats, this.video.currentTime))));
    on("undo", () => this.undo());
    on("reset", () => this.choose(0));
    on("tap", () => this.startTapping());
    $("metre").addEventListener("change", ({ target }) => this.change((beats) => edit.setMetre(beats, Number(target.value))));
    $("bpm").addEventListener("change", ({ target }) => this.setTempo(target));
    $("click").addEventListener("change", ({ target }) => this.clicks.set({ on: target.checked }));
    $("click-volume").addEventListener("input", ({ target }) => this.clicks.set({ volume: target.value / 100 }));
    $("beats-from").addEventListener("change", () => this.readAgain());
    $("dancers").addEventListener("change", () => this.readAgain());
  }

  listenToTaps() {
    $("tap-pad").addEventListener("pointerdown", (event) => this.tap(event));
    $("tap-pad").addEventListener("click", (event) => event.detail === 0 && this.tap(event)); // not by a pointer
    $("tap-done").addEventListener("click", () => this.stopTapping(true));
    $("tap-cancel").addEventListener("click", () => this.stopTapping(false));
    document.addEventListener("tab", () => this.stopTapping(false));
    this.video.addEventListener("ended", () => this.taps && this.stopTapping(this.preview !== null));
    for (const name of ["keydown", "keyup"]) {
      document.addEventListener(
        name,
        (event) => {
          if (!this.taps || event.ctrlKey || event.metaKey || event.altKey) return;
          if (event.key === "Escape" && name === "keydown") this.stopTapping(false);
          else if (event.key !== " ") return;
          else if (name === "keydown" && !event.repeat) this.tap(event);
          event.preventDefault();
          event.stopPropagation();
        },
        { capture: true },
      );
    }
  }

  // A video: its analysis, and nothing that was corrected in another; `wish` is that of its last take.
  open(analysis, hasSound, wish) {
    this.stopTapping(false);
    this.analyses = new Map();
    this.keep(analysis);
    $("beats-from").querySelector("[value=sound]").disabled = !hasSound;
    this.states = [this.stateOf(analysis, 0)];
    if (wish?.beats) this.states.push({ analysis, index: null, beats: wish.beats });
    else if (wish?.reading) this.states.push(this.stateOf(analysis, wish.reading));
    this.show();
  }

  keep(analysis) {
    this.analyses.set(`${analysis.beats_from} ${analysis.dancers_wanted}`, analysis);
  }

  get state() {
    return this.states.at(-1);
  }

  get beats() {
    return this.preview ?? this.state.beats;
  }

  get analysis() {
    return this.state.analysis;
  }

  // The reading that is chosen; nothing where the beats are the person's own.
  get reading() {
    return this.state.index === null ? null : this.analysis.readings[this.state.index];
  }

  // What a take is asked for with.
  get wish() {
    const { beats_from, dancers_wanted: dancers } = this.analysis;
    const beats = this.reading ? { reading: this.state.index } : { beats: edit.rounded(this.state.beats) };
    return { beats_from, dancers, ...beats };
  }

  stateOf(analysis, index) {
    return { analysis, index, beats: analysis.readings[index].beats };
  }

  push(state) {
    this.states = [...this.states, state].slice(-UNDO_STEPS);
    this.show();
  }

  choose(index) {
    if (this.state.index !== index) this.push(this.stateOf(this.analysis, index));
  }

  change(act) {
    if (this.taps) return;
    const beats = act(this.state.beats, this.analysis.duration_s);
    if (beats !== this.state.beats) this.push({ analysis: this.analysis, index: null, beats });
    else this.show();
  }

  undo() {
    if (this.states.length > 1) this.states.pop();
    this.show();
  }

  setTempo(field) {
    const bpm = Number(field.value);
    if (!field.reportValidity() || !bpm) {
      this.show();
      return;
    }
    this.change((beats, duration) => {
      const [time, number] = beats[edit.nearest(beats, this.video.currentTime)] ?? [0, 1];
      return edit.steady(60 / bpm, time, number, edit.metreOf(beats), duration);
    });
  }

  get movesOne() {
    return document.querySelector("[name=moves]:checked").value === "one";
  }

  moved(beats, index, by) {
    return this.movesOne
      ? edit.moveBeat(beats, index, beats[index][0] + by, this.analysis.duration_s)
      : edit.shift(beats, by, this.analysis.duration_s);
  }

  nudge(by) {
    this.change((beats) => (beats.length ? this.moved(beats, edit.nearest(beats, this.video.currentTime), by) : beats));
  }

  drag(time) {
    const { beats, index, time: from } = this.grabbed;
    this.preview = this.moved(beats, index, time - from);
    this.strip.pointed = edit.nearest(this.preview, time);
    this.show();
  }

  drop() {
    const beats = this.preview;
    this.preview = null;
    if (beats && !this.taps) this.change(() => beats);
    else this.show();
  }

  async readAgain() {
    const beats_from = $("beats-from").value;
    const dancers = Number($("dancers").value);
    const known = this.analyses.get(`${beats_from} ${dancers}`);
    const analysis = known ?? (await this.read({ beats_from, dancers }));
    if (analysis) {
      this.keep(analysis);
      const own = this.state.index === null && dancers !== this.analysis.dancers_wanted;
      this.push(own ? { ...this.state, analysis } : this.stateOf(analysis, 0));
    } else this.show();
  }

  async startTapping() {
    Object.assign(this, { taps: [], preview: null });
    this.clicks.set({ muted: true }); // one cannot tap one beat while another clicks
    this.showTapping();
    $("tap-pad").focus();
    $("tapping").scrollIntoView({ block: "nearest" });
    if (this.video.ended) this.player.seek(0);
    if (this.video.paused) await this.player.toggle();
  }

  // Where the video was when the finger came down, not when this page got to know of it.
  tap(event) {
    if (!this.taps) return;
    if (this.video.paused) {
      this.player.toggle();
      return;
    }
    const late = Math.max(0, performance.now() - event.timeStamp) / 1000;
    this.taps.push(this.video.currentTime - late);
    $("tap-pad").classList.remove("hit");
    void $("tap-pad").offsetWidth; // starts the flash again
    $("tap-pad").classList.add("hit");
    const known = [...this.analyses.values()].flatMap(({ readings }) => readings.map(({ beats }) => edit.intervalOf(beats)));
    const fit = this.taps.length >= MIN_TAPS ? edit.fitTaps(this.taps, known) : null;
    if (fit) {
      const metre = edit.metreOf(this.state.beats);
      this.preview = edit.steady(fit.interval, fit.offset, 1, metre, this.analysis.duration_s);
      this.show();
    }
    this.showTapping();
  }

  stopTapping(use) {
    if (!this.taps) return;
    const beats = this.preview;
    Object.assign(this, { taps: null, preview: null });
    this.clicks.set({ muted: false });
    if (use && beats) this.change(() => beats);
    else this.show();
    this.showTapping();
    $("tap").focus();
  }

  showTapping() {
    $("tapping").hidden = !this.taps;
    $("tools").hidden = Boolean(this.taps);
    if (!this.taps) return;
    const left = MIN_TAPS - this.taps.length;
    $("tap-note").textContent = this.preview
      ? `${this.taps.length} taps · ${edit.tempoOf(this.preview).toFixed(1)} BPM · the first tap is beat 1`
      : left > 0
        ? `${left} more ${left === 1 ? "tap sets" : "taps set"} the tempo.`
        : "Keep tapping: these taps do not agree on a tempo yet.";
    $("tap-done").disabled = !this.preview;
  }

  // Everything that depends on the beats.
  show() {
    const { beats, reading, analysis } = this;
    const bpm = edit.tempoOf(beats);
    const metre = edit.metreOf(beats);
    $("tempo").textContent = bpm ? bpm.toFixed(1) : "–";
    $("beat-source-text").textContent = this.preview || !reading ? SOURCES.file : SOURCES[reading.source];
    $("beat-verdict").hidden = Boolean(this.preview || !reading);
    $("beat-verdict").textContent = $("beat-verdict").dataset.verdict = reading?.verdict ?? "";
    $("beat-verdict").title = reading ? `right with a probability of ${Math.round(100 * reading.certainty)} %` : "";
    $("beat-metre").textContent = `· ${metre} beats in a bar`;
    if (document.activeElement !== $("bpm") || !this.preview) $("bpm").value = bpm ? bpm.toFixed(1) : "";
    if (![...$("metre").options].some(({ value }) => Number(value) === metre)) $("metre").append(new Option(inBar(metre), metre));
    $("metre").value = metre;
    for (const change of ["half", "double"]) $(change).disabled = edit[change](beats, analysis.duration_s) === beats;
    $("undo").disabled = this.states.length < 2;
    $("reset").disabled = this.state.index === 0;
    $("beats-from").value = analysis.beats_from;
    $("dancers").value = analysis.dancers_wanted;
    this.showReadings();
    this.clicks.set({ beats });
    const energy = { values: analysis.energy, rate: analysis.energy_rate };
    this.strip.show({ beats, energy, duration: analysis.duration_s });
    this.onChange();
  }

  showReadings() {
    const { readings } = this.analysis;
    const first = edit.tempoOf(readings[0].beats);
    const choice = (index, text, note) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "reading", value: index });
      input.checked = this.state.index === (index === "given" ? null : index);
      if (index !== "given") input.addEventListener("change", () => this.choose(index));
      label.append(input, text);
      if (note) label.append(Object.assign(document.createElement("span"), { className: "hint", textContent: note }));
      return label;
    };
    const texts = readings.map(({ beats, source }) => {
      const bpm = edit.tempoOf(beats);
      const times = { 0.5: "half", 2: "double" }[Math.round((bpm / first) * 10) / 10];
      const other = source === readings[0].source ? null : source;
      return [bpm ? bpm.toFixed(1) : "no beats", [other, times].filter(Boolean).join(", ") || source];
    });
    const shown = JSON.stringify([texts, this.state.index]);
    if (shown === this.shownReadings) return; // what has the focus keeps it
    const focused = document.activeElement?.name === "reading";
    this.shownReadings = shown;
    $("readings").replaceChildren(
      ...texts.map(([text, note], index) => choice(index, text, note)),
      ...(this.state.index === null ? [choice("given", "Yours", "")] : []),
    );
    if (focused) document.querySelector("[name=reading]:checked").focus();
  }
}

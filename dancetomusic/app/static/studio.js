// The upload page: from a file to takes one can listen to, compare and keep.

import { BeatPanel } from "./beatpanel.js";
import { Player } from "./player.js";
import { ask, askPatiently, follow, Refused, upload } from "./server.js";
import { Skeleton, SkeletonTrack } from "./skeleton.js";
import { Timeline } from "./timeline.js";

// Sliders of the next take: the page has their ranges, the model their defaults.
const SAMPLING = ["temperature", "cfg_scale"];
const READ_STAGES = { poses: "Find the dancer", rhythm: "Find the beat" };
const OPEN_STAGES = { upload: "Upload", check: "Check the file", ...READ_STAGES };
const TAKE_STAGES = { score: "Compose", codes: "Compose", sound: "Make it sound", master: "Master" };
const FILE_STAGES = { file: "Write the file" };
const $ = (id) => document.getElementById(id);
const clockText = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const isTyping = (element) => element.matches("input:not([type=checkbox]):not([type=radio]), textarea, select, [role=slider]");
const ENVELOPE_HZ = 100;

class Studio {
  constructor(facts) {
    Object.assign(this, { facts, clip: null, takes: [], playing: null, before: null, work: null });
    this.player = new Player($("video"), () => this.showTransport());
    this.timeline = new Timeline($("timeline"), (seconds) => this.player.seek(seconds));
    this.skeleton = new Skeleton($("video-overlay"), facts);
    this.panel = new BeatPanel(this.player, { onChange: () => this.showBeats(), read: (wish) => this.readAgain(wish) });
    const megabytes = Math.round(facts.upload_bytes / 2 ** 20);
    $("drop-limits").textContent =
      `MP4, MOV, MKV, WebM, AVI or TS, up to ${Math.round(facts.duration_s / 60)} minutes and ${megabytes} MB`;
    const minutes = Math.round(facts.keep_s / 60);
    $("keep").textContent = minutes === 60 ? "an hour" : `${minutes} minutes`;
    this.listenToFiles();
    this.listenToControls();
    this.listenToKeys();
    const tick = () => (this.drawFrame(), requestAnimationFrame(tick));
    requestAnimationFrame(tick);
  }

  listenToFiles() {
    const drop = $("drop");
    $("file").addEventListener("change", ({ target }) => {
      if (target.files[0]) this.open(target.files[0]);
      target.value = "";
    });
    for (const name of ["dragenter", "dragover"]) {
      document.addEventListener(name, (event) => (event.preventDefault(), drop.classList.add("over")));
    }
    for (const name of ["dragleave", "drop"]) {
      document.addEventListener(name, (event) => (event.preventDefault(), drop.classList.remove("over")));
    }
    document.addEventListener("drop", ({ dataTransfer }) => dataTransfer.files[0] && this.open(dataTransfer.files[0]));
  }

  listenToControls() {
    const show = (id, text) => {
      const showValue = () => ($(`${id}-value`).textContent = text($(id).value));
      $(id).addEventListener("input", showValue);
      showValue();
    };
    show("temperature", (value) => Number(value).toFixed(2));
    show("cfg_scale", (value) => Number(value).toFixed(1));
    show("mix", (value) => `${value} %`);
    $("mix").addEventListener("input", ({ target }) => this.player.balance(target.value / 100));
    $("roll").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 100000)));
    for (const id of ["play", "play-here"]) $(id).addEventListener("click", () => this.player.toggle());
    $("video").addEventListener("error", () => this.playBlind());
    $("video").addEventListener("loadedmetadata", ({ target }) => ($("video-blind").hidden = target.videoWidth > 0));
    $("another").addEventListener("click", () => this.close());
    $("cancel").addEventListener("click", () => this.work?.abort());
    $("failure-close").addEventListener("click", () => ($("failure").hidden = true));
    $("get-wav").addEventListener("click", () => this.download("wav"));
    $("get-mp4").addEventListener("click", () => this.download("mp4"));
    $("settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run("Making music", TAKE_STAGES, (signal) => this.make(signal));
    });
    document.addEventListener("tab", () => $("video").pause());
  }

  listenToKeys() {
    document.addEventListener("keydown", (event) => {
      if ($("studio").hidden || $("panel-video").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " " && !isTyping(event.target) && !event.target.matches("button, [type=checkbox]")) {
        event.preventDefault();
        this.player.toggle();
      } else if (event.key.toLowerCase() === "b" && !isTyping(event.target) && this.before !== null) {
        this.listen(this.before);
      }
    });
  }

  open(file) {
    if (this.work) return;
    if (file.size > this.facts.upload_bytes) {
      this.fail(new Refused("The file is too large.", "Cut or compress it."));
      return;
    }
    this.run("Reading the video", OPEN_STAGES, async (signal) => {
      const started = ({ share }) => this.showStage(share < 1 ? "upload" : "check", share < 1 ? share : null);
      const clip = await upload("/api/clips", file, (share) => started({ share }), signal);
      try {
        const analysis = await this.readRhythm(clip, { beats_from: "auto", dancers: 1 }, signal);
        if (this.clip) this.leave();
        this.show(clip, file, analysis);
      } catch (error) {
        forget(clip); // what is shown stays
        throw error;
      }
    });
  }

  show(clip, file, analysis) {
    Object.assign(this, { clip, file, takes: [], playing: "original", before: null });
    $("clip-name").textContent = file.name;
    this.blind = false;
    $("video").src = URL.createObjectURL(file);
    $("video-blind").hidden = true;
    $("studio").hidden = false;
    $("welcome").hidden = true;
    this.panel.open(analysis, clip.has_audio);
    this.offer(analysis.model);
    this.showTakes();
    this.listen("original");
  }

  // Show the controls that the model has, set to its defaults.
  offer({ sampling, styles }) {
    for (const name of SAMPLING) {
      $(name).closest(".field").hidden = !(name in sampling);
      if (name in sampling) $(name).value = sampling[name];
      $(name).dispatchEvent(new Event("input"));
    }
    $("style").replaceChildren(new Option("any", ""), ...styles.map((style) => new Option(style, style)));
    $("style").closest(".field").hidden = styles.length === 0;
  }

  chosenOfModel() {
    const sampling = SAMPLING.filter((name) => !$(name).closest(".field").hidden);
    const style = $("style").value;
    return { ...Object.fromEntries(sampling.map((name) => [name, Number($(name).value)])), ...(style && { style }) };
  }

  // An analysis of the video: readings of its beat, and what is drawn beside them.
  async readRhythm(clip, wish, signal) {
    const analysis = await this.job(`/api/clips/${clip.id}/rhythm`, wish, signal);
    const landmarks = await (await ask(`/api/clips/${clip.id}/skeleton`, { signal })).arrayBuffer();
    analysis.track = new SkeletonTrack(landmarks, analysis, this.facts);
    analysis.sound = analysis.loudness.length ? envelope(analysis.loudness, analysis.loudness_rate) : null;
    return analysis;
  }

  async readAgain(wish) {
    let analysis;
    await this.run("Reading the beat again", READ_STAGES, async (signal) => {
      analysis = await this.readRhythm(this.clip, wish, signal);
    });
    return analysis;
  }

  async make(signal) {
    const rhythm = this.panel.wish;
    const wish = {
      seed: Number($("seed").value),
      ...this.chosenOfModel(),
      ...rhythm,
    };
    const take = await this.job(`/api/clips/${this.clip.id}/takes`, wish, signal);
    this.note("Fetching the sound");
    const sound = await (await ask(`/api/takes/${take.take}/sound`, { signal })).arrayBuffer();
    take.buffer = await this.player.decode(sound);
    take.sound = envelopeOf(take.buffer);
    Object.assign(take, { wish, rhythm: JSON.stringify(rhythm) });
    this.takes.push(take);
    this.showTakes();
    this.listen(this.takes.length - 1);
    $("seed").value = wish.seed + 1;
  }

  async download(format) {
    const number = this.takes[this.playing] ? this.playing : this.takes.length - 1;
    const take = this.takes[number];
    await this.run("Writing the file", FILE_STAGES, async (signal) => {
      const name = `${this.file.name.replace(/\.[^.]*$/, "")} take ${number + 1}`;
      const wish = { format, name, mix: $("mix").value / 100, skeleton: format === "mp4" && $("skeleton").checked };
      const { url } = await this.job(`/api/takes/${take.take}/files`, wish, signal);
      const link = Object.assign(document.createElement("a"), { href: url, download: "" });
      link.click();
    });
  }

  async job(path, json, signal) {
    const wait = (seconds) => this.note(`The server is busy. Trying again in ${seconds} s.`);
    const { job } = await (await askPatiently(path, { method: "POST", json, signal }, wait)).json();
    return follow(job, (state) => this.showProgress(state), signal);
  }

  // One piece of work at a time, with its progress, its error, or neither.
  async run(title, stages, act) {
    if (this.work) return;
    this.work = new AbortController();
    $("failure").hidden = true;
    $("busy-title").textContent = title;
    this.stages = stages;
    $("stages").replaceChildren(
      ...Object.entries(stages).map(([name, text]) => {
        const item = document.createElement("li");
        item.dataset.stage = name;
        const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
        bar.setAttribute("aria-label", text);
        item.append(text, bar);
        return item;
      }),
    );
    this.note("");
    $("busy").hidden = false;
    $("welcome").hidden = true;
    this.enable(false);
    try {
      await act(this.work.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      this.work = null;
      $("busy").hidden = true;
      $("welcome").hidden = this.clip !== null;
      this.enable(true);
    }
  }

  enable(on) {
    for (const id of ["make", "get-wav", "get-mp4", "another", "beats-from", "dancers"]) $(id).disabled = !on;
  }

  fail(error) {
    if (!(error instanceof Refused)) console.error(error);
    $("failure-problem").textContent = error.problem ?? "Something on this page went wrong.";
    $("failure-remedy").textContent = error.remedy ?? "Load the page again.";
    $("failure").hidden = false;
    $("failure").scrollIntoView({ block: "nearest" });
  }

  note(text) {
    if ($("busy-note").textContent !== text) $("busy-note").textContent = text;
  }

  showProgress({ state, stage, share, place, wait_s: wait }) {
    if (state === "waiting") this.note(`Number ${place} in the queue, about ${wait} s to go.`);
    else {
      this.note("");
      if (stage) this.showStage(stage, share);
    }
  }

  // A share of null is work of unknown length.
  showStage(name, share) {
    if (!(name in this.stages)) return;
    let done = true;
    for (const item of $("stages").children) {
      const bar = item.querySelector("progress");
      const now = item.dataset.stage === name;
      if (now) done = false;
      item.classList.toggle("now", now);
      if (now && share === null) bar.removeAttribute("value");
      else bar.value = now ? share : done ? 1 : 0;
    }
  }

  showTakes() {
    const choice = (value, text, disabled = false) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "take", value, disabled });
      input.addEventListener("change", () => this.listen(value === "original" ? value : Number(value)));
      label.append(input, text);
      return label;
    };
    const silent = !this.clip.has_audio;
    const tempo = ({ bpm }) => (bpm ? `${bpm.toFixed(1)} BPM` : "no beats");
    $("takes").replaceChildren(
      choice("original", silent ? "Original (silent)" : "Original"),
      ...this.takes.map((take, index) => choice(String(index), `Take ${index + 1} · ${tempo(take)} · seed ${take.wish.seed}`)),
    );
    $("mix").disabled = silent;
    $("make").textContent = this.takes.length ? "Make another take" : "Make music";
    $("keep-music").hidden = !this.takes.length;
  }

  listen(which) {
    if (which !== this.playing) this.before = this.playing;
    this.playing = which;
    document.querySelector(`[name=take][value="${which}"]`).checked = true;
    this.player.listen(this.takes[which]?.buffer ?? null, which === "original");
    this.showBeats();
    this.showTransport();
  }

  // The beats that the next take will have, over what is played now.
  showBeats() {
    const { panel } = this;
    const { energy, energy_rate: rate, duration_s: duration } = panel.analysis;
    const sound = this.takes[this.playing]?.sound ?? panel.analysis.sound;
    this.timeline.show({ beats: panel.beats, energy: { values: energy, rate }, sound, duration });
    panel.strip.show({ sound });
    const last = this.takes.at(-1);
    const notes = {
      "The beats have changed since the last take.": last && last.rhythm !== JSON.stringify(panel.wish),
      "The beat is a guess: check it with the click first.": !last && panel.reading?.verdict === "guess",
    };
    $("make-note").textContent = Object.keys(notes).find((note) => notes[note]) ?? "";
    this.drawn = null;
  }

  // A silent sound is a clock as good as a video that cannot be opened.
  playBlind() {
    if (!this.clip || this.blind) return;
    this.blind = true;
    URL.revokeObjectURL($("video").src);
    $("video").src = URL.createObjectURL(silence(this.clip.duration_s));
  }

  // Nothing of the video shown is kept.
  leave() {
    this.panel.stopTapping(false);
    $("video").pause();
    URL.revokeObjectURL($("video").src);
    forget(this.clip);
    Object.assign(this, { clip: null, takes: [], playing: null, before: null });
    $("video").removeAttribute("src");
  }

  close() {
    this.leave();
    $("studio").hidden = true;
    $("welcome").hidden = false;
    $("file").focus();
  }

  showTransport() {
    const paused = $("video").paused;
    for (const id of ["play", "play-here"]) {
      $(id).classList.toggle("playing", !paused);
      $(id).setAttribute("aria-label", paused ? "Play" : "Pause");
    }
  }

  drawFrame() {
    const video = $("video");
    const moved = video.currentTime !== this.drawn || $("skeleton").checked !== this.drawnSkeleton;
    if ($("studio").hidden || (!moved && this.drawnWidth === video.clientWidth)) return;
    [this.drawn, this.drawnSkeleton, this.drawnWidth] = [video.currentTime, $("skeleton").checked, video.clientWidth];
    const { track, duration_s: duration } = this.panel.analysis;
    this.player.keepInStep();
    this.timeline.moveTo(video.currentTime);
    this.panel.strip.moveTo(video.currentTime);
    $("clock").textContent = `${clockText(video.currentTime)} / ${clockText(duration)}`;
    const picture = { width: video.videoWidth || this.clip.width, height: video.videoHeight || this.clip.height };
    this.skeleton.draw($("skeleton").checked ? track.at(video.currentTime) : [], picture);
  }
}

const forget = ({ id }) => ask(`/api/clips/${id}`, { method: "DELETE" }).catch(() => {}); // it may be gone already

// The largest of every hundredth of a second.
function envelopeOf(buffer) {
  const [samples, step] = [buffer.getChannelData(0), buffer.sampleRate / ENVELOPE_HZ];
  const values = new Float32Array(Math.floor(samples.length / step));
  for (let k = 0; k < values.length; k += 1) {
    for (let n = Math.floor(k * step); n < (k + 1) * step; n += 1) values[k] = Math.max(values[k], Math.abs(samples[n]));
  }
  return envelope(values, ENVELOPE_HZ);
}

const envelope = (values, rate) => ({ values, rate, peak: values.reduce((most, value) => Math.max(most, value), 1e-6) });

// A WAV file of nothing: 8 bits, 8 kHz.
function silence(seconds) {
  const size = Math.round(seconds * 8000);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, k) => head.setUint8(at + k, letter.charCodeAt(0)));
  const numbers = [[4, 36 + size], [16, 16], [20, 0x10001], [24, 8000], [28, 8000], [32, 0x80001], [40, size]];
  for (const [at, value] of numbers) head.setUint32(at, value, true);
  for (const [at, word] of [[0, "RIFF"], [8, "WAVE"], [12, "fmt "], [36, "data"]]) text(at, word);
  return new Blob([head, new Uint8Array(size).fill(128)], { type: "audio/wav" });
}

export const openStudio = (facts) => new Studio(facts);

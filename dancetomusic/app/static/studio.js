// The upload page: from a file to takes one can listen to, compare, mix and keep.

import { BeatPanel } from "./beatpanel.js";
import { tempoOf } from "./beats.js";
import { Mixer } from "./mixer.js";
import { Player } from "./player.js";
import { PianoRoll } from "./roll.js";
import { ask, askPatiently, follow, Refused, upload } from "./server.js";
import { Skeleton, SkeletonTrack } from "./skeleton.js";
import { Timeline } from "./timeline.js";
import { Work } from "./work.js";

// Sliders of the next take: the page has their ranges, the model their defaults.
const SAMPLING = ["temperature", "cfg_scale"];
const READ_STAGES = { poses: "Find the dancer", rhythm: "Find the beat" };
const OPEN_STAGES = { upload: "Upload", check: "Check the file", ...READ_STAGES };
const TAKE_STAGES = { score: "Compose", codes: "Compose", sound: "Make it sound", master: "Master" };
const FILE_STAGES = { file: "Write the file" };
const TITLES = { rhythm: "Reading the beat", take: "Making music", file: "Writing the file" };
const STAGES = { rhythm: READ_STAGES, take: TAKE_STAGES, file: FILE_STAGES };
const FORMATS = ["mp4", "wav", "zip", "mid"];
const ADDRESS = "#video=";
const ENVELOPE_HZ = 100;
const $ = (id) => document.getElementById(id);
const clockText = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const isTyping = (element) => element.matches("input:not([type=checkbox], [type=radio], [type=range]), select, [role=slider]");
const signed = (value) => (value > 0 ? `+${value}` : String(value).replace("-", "−"));

class Studio {
  constructor(facts) {
    Object.assign(this, { facts, clip: null, takes: [], playing: null, before: null });
    this.work = new Work((busy) => this.showBusy(busy));
    this.player = new Player($("video"), () => this.showTransport());
    const seek = (seconds) => this.player.seek(seconds);
    this.timeline = new Timeline($("timeline"), seek);
    this.roll = new PianoRoll($("roll"), $("roll-legend"), seek);
    this.mixer = new Mixer($("mixer"), $("channels"), $("mixer-reset"), {
      player: this.player,
      onChange: (levels) => this.roll.show({ levels }),
    });
    this.skeleton = new Skeleton($("video-overlay"), facts);
    this.panel = new BeatPanel(this.player, { onChange: () => this.showBeats(), read: (wish) => this.readAgain(wish) });
    const megabytes = Math.round(facts.upload_bytes / 2 ** 20);
    $("drop-limits").textContent = `MP4, MOV, MKV, WebM, AVI, TS, MTS, MPG, FLV or OGV, up to ${Math.round(facts.duration_s / 60)} minutes and ${megabytes} MB`;
    const minutes = Math.round(facts.keep_s / 60);
    $("keep").textContent = minutes === 60 ? "an hour" : `${minutes} minutes`;
    this.listenToFiles();
    this.listenToControls();
    this.listenToPlayback();
    this.listenToKeys();
    addEventListener("popstate", () => this.followAddress());
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
    show("energy", (value) => (Number(value) ? signed(Number(value)) : "as danced"));
    show("mix", (value) => `${value} %`);
    $("mix").addEventListener("input", ({ target }) => this.player.balance(target.value / 100));
    $("new-seed").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 100000)));
    $("another").addEventListener("click", () => this.close());
    $("delete").addEventListener("click", () => {
      forget(this.clip);
      this.close();
    });
    for (const format of FORMATS) $(`get-${format}`).addEventListener("click", () => this.download(format));
    $("settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.work.run(TITLES.take, TAKE_STAGES, (signal) => this.make(signal));
    });
  }

  listenToPlayback() {
    const video = $("video");
    for (const id of ["play", "play-here"]) $(id).addEventListener("click", () => this.player.toggle());
    video.addEventListener("click", () => this.player.toggle());
    video.addEventListener("error", () => this.playBlind());
    video.addEventListener("loadedmetadata", () => ($("video-blind").hidden = video.videoWidth > 0));
    $("loop").addEventListener("change", ({ target }) => (video.loop = target.checked));
    $("listening").addEventListener("input", () => this.setVolume(false));
    $("silence").addEventListener("click", () => this.setVolume($("silence").getAttribute("aria-pressed") !== "true"));
    $("full-screen").addEventListener("click", () => this.toggleFullScreen());
    document.addEventListener("fullscreenchange", () => (this.drawn = null));
    document.addEventListener("tab", () => video.pause());
  }

  listenToKeys() {
    document.addEventListener("keydown", (event) => {
      if ($("studio").hidden || $("panel-video").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
      if (isTyping(event.target)) return;
      if (event.key === " " && !event.target.matches("button, [type=checkbox]")) {
        event.preventDefault();
        this.player.toggle();
      } else if (event.key.toLowerCase() === "b" && this.before !== null) this.listen(this.before);
      else if (event.key.toLowerCase() === "f") this.toggleFullScreen();
    });
  }

  setVolume(silent) {
    $("silence").setAttribute("aria-pressed", silent);
    this.player.setVolume(silent ? 0 : $("listening").value / 100);
  }

  toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else $("screen").requestFullscreen();
  }

  // A new video. What is shown stays until the new one was read.
  async open(file) {
    if (this.work.busy) return;
    if (file.size > this.facts.upload_bytes) {
      this.work.fail(new Refused("The file is too large.", "Cut or compress it."));
      return;
    }
    const read = await this.work.run("Reading the video", OPEN_STAGES, async (signal) => {
      const uploaded = (share) => this.work.showStage(share < 1 ? "upload" : "check", share < 1 ? share : null);
      const clip = await upload(`api/clips?name=${encodeURIComponent(file.name)}`, file, uploaded, signal);
      if (!this.clip) setAddress(clip, "replaceState"); // whoever loads the page again comes back to this job
      try {
        const analysis = await this.readRhythm(clip, { beats_from: "auto", dancers: 1 }, signal);
        this.show(clip, URL.createObjectURL(file), analysis);
      } catch (error) {
        forget(clip);
        throw error;
      }
    });
    if (!read && !this.clip) setAddress(null, "replaceState");
  }

  // The video that the page's address names, with what is being made for it, or none.
  async followAddress() {
    const name = location.hash.startsWith(ADDRESS) ? location.hash.slice(ADDRESS.length) : null;
    if (name === (this.clip?.id ?? null)) return;
    await this.work.cancel();
    this.leave();
    if (!name) return;
    let known;
    let ended = true; // whether all that was being made came to its end
    const look = (signal) => this.fetchClip(name, signal).then((clip) => ((known = clip), this.reopen(clip, signal)));
    await this.work.run("Opening the video", {}, look);
    for (const { job, work } of known?.jobs ?? []) {
      ended &&= await this.work.run(TITLES[work], STAGES[work], async (signal) => {
        const result = await follow(job, (state) => this.work.showProgress(state), signal);
        if (work === "file") save(result.url);
        else await look(signal);
      });
    }
    if (ended && known && !known.analysis) {
      await this.work.run(TITLES.rhythm, READ_STAGES, async (signal) => {
        const analysis = await this.readRhythm(known, { beats_from: "auto", dancers: 1 }, signal);
        this.show(known, videoOf(known), analysis);
      });
    }
    if (!this.clip) setAddress(null, "replaceState");
  }

  async fetchClip(name, signal) {
    return (await ask(`api/clips/${name}`, { signal })).json();
  }

  async reopen(clip, signal) {
    if (!clip.analysis) return;
    await this.complete(clip, clip.analysis, signal);
    this.show(clip, videoOf(clip), clip.analysis, clip.takes);
    if (clip.takes.length) await this.listen(clip.takes.length - 1);
  }

  show(clip, address, analysis, takes = []) {
    this.leave();
    Object.assign(this, { clip, takes, playing: "original", before: null, blind: false });
    if (location.hash !== `${ADDRESS}${clip.id}`) setAddress(clip, "pushState");
    $("clip-name").textContent = clip.name;
    $("video").src = address;
    $("video-blind").hidden = true;
    $("studio").hidden = false;
    $("welcome").hidden = true;
    this.panel.open(analysis, clip.has_audio, takes.at(-1)?.wish);
    this.offer(analysis.model);
    this.showTakes();
    this.listen("original");
  }

  // Show the controls that the model has, set to its defaults.
  offer({ sampling, styles, keys }) {
    const showField = (id, shown) => ($(id).closest(".field").hidden = !shown);
    for (const name of SAMPLING) {
      showField(name, name in sampling);
      if (name in sampling) $(name).value = sampling[name];
      $(name).dispatchEvent(new Event("input"));
    }
    const offer = (id, values) => {
      const chosen = $(id).value;
      $(id).replaceChildren(new Option("chosen for the dance", ""), ...values.map((value) => new Option(value, value)));
      $(id).value = values.includes(chosen) ? chosen : "";
      showField(id, values.length);
    };
    offer("style", styles);
    offer("key", keys);
    showField("energy", keys.length);
  }

  chosenOfModel() {
    const shown = (id) => !$(id).closest(".field").hidden;
    const numbers = [...SAMPLING, "energy"].filter(shown).map((id) => [id, Number($(id).value)]);
    const names = ["style", "key"].filter((id) => shown(id) && $(id).value).map((id) => [id, $(id).value]);
    return Object.fromEntries([...numbers, ...names]);
  }

  async readRhythm(clip, wish, signal) {
    const analysis = await this.job(`api/clips/${clip.id}/rhythm`, wish, signal);
    return this.complete(clip, analysis, signal);
  }

  async complete(clip, analysis, signal) {
    const landmarks = await (await ask(`api/clips/${clip.id}/skeleton`, { signal })).arrayBuffer();
    analysis.track = new SkeletonTrack(landmarks, analysis, this.facts);
    analysis.sound = analysis.loudness.length ? envelope(analysis.loudness, analysis.loudness_rate) : null;
    return analysis;
  }

  async readAgain(wish) {
    let analysis;
    await this.work.run("Reading the beat again", READ_STAGES, async (signal) => {
      analysis = await this.readRhythm(this.clip, wish, signal);
    });
    return analysis;
  }

  async make(signal) {
    const wish = { seed: Number($("seed").value), ...this.chosenOfModel(), ...this.panel.wish };
    const take = await this.job(`api/clips/${this.clip.id}/takes`, wish, signal);
    this.work.note("Fetching the sound");
    await this.load(take, signal);
    this.takes.push(take);
    this.showTakes();
    await this.listen(this.takes.length - 1);
    $("seed").value = wish.seed + 1;
  }

  // The tracks of a take, or its one sound, ready to be played, and its notes.
  async load(take, signal) {
    if (take.parts) return;
    const fetched = async (path) => (await ask(`api/takes/${take.take}/${path}`, { signal })).arrayBuffer();
    const part = async (name, path, gain) => ({ name, gain, buffer: await this.player.decode(await fetched(path)) });
    take.parts = await Promise.all(
      take.tracks.length
        ? take.tracks.map((name, number) => part(name, `stems/${number}`, take.stem_gain))
        : [part("music", "sound", 1)],
    );
    take.sound = envelopeOf(take.parts);
    if (take.tracks.length) take.score ??= JSON.parse(new TextDecoder().decode(await fetched("score")));
  }

  download(format) {
    const number = this.takes[this.playing] ? this.playing : this.takes.length - 1;
    const take = this.takes[number];
    return this.work.run(TITLES.file, FILE_STAGES, async (signal) => {
      const words = [this.clip.name.replace(/\.[^.]*$/, ""), take.style, `take ${number + 1}`, format === "zip" && "stems"];
      const wish = { format, name: words.filter(Boolean).join(" "), mix: $("mix").value / 100 };
      if (take.tracks.length) wish.levels = this.mixer.levelsOf(take.tracks);
      save((await this.job(`api/takes/${take.take}/files`, wish, signal)).url);
    });
  }

  async job(path, json, signal) {
    const wait = (seconds, job) => this.work.waiting(seconds, job);
    const { job } = await (await askPatiently(path, { method: "POST", json, signal }, wait)).json();
    return follow(job, (state) => this.work.showProgress(state), signal);
  }

  showBusy(busy) {
    $("welcome").hidden = busy || this.clip !== null;
    const ids = ["make", "another", "delete", "beats-from", "dancers", ...FORMATS.map((format) => `get-${format}`)];
    for (const id of ids) $(id).disabled = busy;
  }

  showTakes() {
    const choice = (value, text, note) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "take", value });
      input.addEventListener("change", () => this.listen(value === "original" ? value : Number(value)));
      const words = document.createElement("span");
      words.append(text, Object.assign(document.createElement("span"), { className: "hint", textContent: note }));
      label.append(input, words);
      return label;
    };
    const silent = !this.clip.has_audio;
    $("takes").replaceChildren(
      choice("original", "Original", silent ? "silent" : "the video's own sound"),
      ...this.takes.map((take, index) => choice(String(index), [`Take ${index + 1}`, take.style].filter(Boolean).join(" · "), noteOf(take))),
    );
    $("mix").disabled = silent;
    $("make").textContent = this.takes.length ? "Make another take" : "Make music";
    $("keep-music").hidden = !this.takes.length;
  }

  // Play a take, by its number, or the original; only it and the one before stay decoded.
  async listen(which) {
    if (which !== this.playing) this.before = this.playing;
    this.playing = which;
    document.querySelector(`[name=take][value="${which}"]`).checked = true;
    const take = this.takes[which];
    if (take && !take.parts) {
      this.player.listen([], false);
      await this.load(take).catch((error) => this.work.fail(error));
      if (take !== this.takes[this.playing]) return;
    }
    this.takes.forEach((other, index) => ![this.playing, this.before].includes(index) && delete other.parts);
    this.player.listen(take?.parts ?? [], which === "original");
    const about = take?.about ?? "";
    $("about").textContent = about && `${about[0].toUpperCase()}${about.slice(1)}.`;
    const tracks = (take ?? this.takes.at(-1))?.tracks ?? [];
    for (const format of ["zip", "mid"]) $(`get-${format}`).hidden = !tracks.length;
    $("download-note").hidden = !tracks.length;
    this.mixer.show(take?.tracks ?? []);
    this.showBeats();
    this.showTransport();
  }

  // The beats that the next take will have, over what is played now.
  showBeats() {
    const { panel } = this;
    const { energy, energy_rate: rate, duration_s: duration } = panel.analysis;
    const take = this.takes[this.playing];
    const sound = take?.sound ?? panel.analysis.sound;
    this.timeline.show({ beats: panel.beats, energy: { values: energy, rate }, sound, duration });
    this.roll.show({ score: take?.score ?? null, beats: take?.beats ?? [], duration });
    panel.strip.show({ sound });
    const last = this.takes.at(-1);
    const notes = {
      "The beats have changed since the last take.": last && rhythmOf(last.wish) !== rhythmOf(panel.wish),
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

  // Nothing is shown any more; the server keeps it for a while.
  leave() {
    if (!this.clip) return;
    this.panel.stopTapping(false);
    $("video").pause();
    URL.revokeObjectURL($("video").src);
    this.player.listen([], false);
    Object.assign(this, { clip: null, takes: [], playing: null, before: null });
    $("video").removeAttribute("src");
    $("studio").hidden = true;
    $("welcome").hidden = false;
  }

  close() {
    this.leave();
    setAddress(null, "pushState");
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
    if ($("studio").hidden) return;
    this.mixer.drawLevels();
    const moved = video.currentTime !== this.drawn || $("skeleton").checked !== this.drawnSkeleton;
    const size = `${video.clientWidth}x${video.clientHeight}`; // it has another height before its picture is there
    if (!moved && this.drawnSize === size) return;
    [this.drawn, this.drawnSkeleton, this.drawnSize] = [video.currentTime, $("skeleton").checked, size];
    const { track, duration_s: duration } = this.panel.analysis;
    this.player.keepInStep();
    for (const view of [this.timeline, this.roll, this.panel.strip]) view.moveTo(video.currentTime);
    $("clock").textContent = `${clockText(video.currentTime)} / ${clockText(duration)}`;
    $("time-left").textContent = `${clockText(Math.max(0, duration - video.currentTime))} left`;
    const picture = { width: video.videoWidth || this.clip.width, height: video.videoHeight || this.clip.height };
    this.skeleton.draw($("skeleton").checked ? track.at(video.currentTime) : [], picture);
  }
}

const forget = ({ id }) => ask(`api/clips/${id}`, { method: "DELETE" }).catch(() => {}); // it may be gone already
const videoOf = ({ id }) => `api/clips/${id}/video`;
const save = (url) => Object.assign(document.createElement("a"), { href: url, download: "" }).click();

// The page's address leads to a video for as long as the server keeps it.
function setAddress(clip, how) {
  history[how](null, "", clip ? `${ADDRESS}${clip.id}` : location.pathname + location.search);
}

function noteOf({ beats, key, wish }) {
  const bpm = tempoOf(beats);
  const tempo = bpm ? `${bpm.toFixed(1)} BPM` : "no beats";
  const energy = wish.energy ? `energy ${signed(wish.energy)}` : "";
  return [tempo, key, energy, `seed ${wish.seed}`].filter(Boolean).join(" · ");
}

// What of a wish decides the beats.
function rhythmOf({ beats_from: from, dancers, reading, beats }) {
  return JSON.stringify([from, dancers, beats ?? reading]);
}

// The largest of every hundredth of a second of what the parts sum to.
function envelopeOf(parts) {
  const tracks = parts.map(({ buffer, gain }) => [buffer.getChannelData(0), gain]);
  const { length, sampleRate } = parts[0].buffer;
  const step = sampleRate / ENVELOPE_HZ;
  const values = new Float32Array(Math.floor(length / step));
  for (let k = 0; k < values.length; k += 1) {
    for (let n = Math.floor(k * step); n < (k + 1) * step; n += 1) {
      let sum = 0;
      for (const [samples, gain] of tracks) sum += gain * samples[n];
      values[k] = Math.max(values[k], Math.abs(sum));
    }
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

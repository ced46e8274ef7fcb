// The upload page: from a file to takes one can listen to, compare and keep.

import { Player } from "./player.js";
import { ask, askPatiently, follow, Refused, upload } from "./server.js";
import { Skeleton, SkeletonTrack } from "./skeleton.js";
import { Timeline } from "./timeline.js";

const STAGES = {
  upload: "Upload",
  check: "Check the file",
  poses: "Find the dancer",
  rhythm: "Read the beat",
  codes: "Compose",
  sound: "Make it sound",
};
const FILE_STAGES = { file: "Write the file" };
const $ = (id) => document.getElementById(id);
const clockText = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const isTyping = (element) => element.matches("input:not([type=checkbox]), textarea, select, [role=slider]");

class Studio {
  constructor(facts) {
    Object.assign(this, { facts, clip: null, takes: [], heard: null, before: null, work: null });
    this.player = new Player($("video"), () => this.showTransport());
    this.timeline = new Timeline($("timeline"), (seconds) => this.player.seek(seconds));
    this.skeleton = new Skeleton($("video-overlay"), facts);
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
      const tell = () => ($(`${id}-value`).textContent = text($(id).value));
      $(id).addEventListener("input", tell);
      tell();
    };
    show("temperature", (value) => Number(value).toFixed(2));
    show("guidance", (value) => Number(value).toFixed(1));
    show("bpm", (value) => `${value} BPM`);
    show("dancers", (value) => (value === "1" ? "one" : `up to ${value}`));
    show("mix", (value) => `${value} %`);
    $("mix").addEventListener("input", ({ target }) => this.player.balance(target.value / 100));
    $("own-tempo").addEventListener("change", ({ target }) => ($("bpm").disabled = !target.checked));
    $("roll").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 100000)));
    $("play").addEventListener("click", () => this.player.toggle());
    $("video").addEventListener("error", () => this.playBlind());
    $("another").addEventListener("click", () => this.close());
    $("cancel").addEventListener("click", () => this.work?.abort());
    $("failure-close").addEventListener("click", () => ($("failure").hidden = true));
    $("get-wav").addEventListener("click", () => this.download("wav"));
    $("get-mp4").addEventListener("click", () => this.download("mp4"));
    $("settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run("Making another take", STAGES, (signal) => this.make(signal));
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
    this.run("Making the music", STAGES, async (signal) => {
      const started = ({ share }) => this.showStage(share < 1 ? "upload" : "check", share < 1 ? share : null);
      this.clip = await upload("/api/clips", file, (share) => started({ share }), signal);
      this.takes = [];
      $("clip-name").textContent = file.name;
      $("video").src = URL.createObjectURL(file);
      $("video-blind").hidden = true;
      await this.make(signal);
    });
  }

  async make(signal) {
    const wish = {
      seed: Number($("seed").value),
      temperature: Number($("temperature").value),
      guidance: Number($("guidance").value),
      bpm: $("own-tempo").checked ? Number($("bpm").value) : null,
      dancers: Number($("dancers").value),
    };
    const take = await this.job(`/api/clips/${this.clip.id}/takes`, wish, signal);
    this.note("Fetching the sound");
    const [sound, places] = await Promise.all(
      ["sound", "skeleton"].map(async (part) => (await ask(`/api/takes/${take.take}/${part}`, { signal })).arrayBuffer()),
    );
    take.buffer = await this.player.decode(sound);
    take.track = new SkeletonTrack(places, take, this.facts);
    take.wish = wish;
    this.takes.push(take);
    $("studio").hidden = false;
    $("welcome").hidden = true;
    this.showTakes();
    this.listen(this.takes.length - 1);
    if (!$("own-tempo").checked && take.bpm) {
      $("bpm").value = Math.round(take.bpm);
      $("bpm").dispatchEvent(new Event("input"));
    }
    $("seed").value = wish.seed + 1;
  }

  async download(format) {
    const take = this.takes[this.heard] ?? this.takes.at(-1);
    await this.run("Writing the file", FILE_STAGES, async (signal) => {
      const wish = { format, mix: $("mix").value / 100, skeleton: format === "mp4" && $("skeleton").checked };
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
      ...Object.entries(stages)
        .filter(([name]) => !this.clip || !["upload", "check"].includes(name) || title === "Making the music")
        .map(([name, text]) => {
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
    $("busy").scrollIntoView({ block: "nearest" });
    try {
      await act(this.work.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      this.work = null;
      $("busy").hidden = true;
      $("welcome").hidden = this.takes.length > 0;
      this.enable(true);
    }
  }

  enable(on) {
    for (const id of ["make", "get-wav", "get-mp4", "another"]) $(id).disabled = !on;
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
    if (state === "waiting") this.note(`Number ${place} in line, about ${wait} s to go.`);
    else {
      this.note("");
      if (stage) this.showStage(stage, share);
    }
  }

  // A share of null is work of unknown length.
  showStage(name, share) {
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
    $("takes").replaceChildren(
      choice("original", silent ? "Original (silent)" : "Original", silent),
      ...this.takes.map(({ wish }, index) => choice(String(index), `Take ${index + 1} · seed ${wish.seed}`)),
    );
    $("mix").disabled = silent;
  }

  listen(which) {
    if (which !== this.heard) this.before = this.heard;
    this.heard = which;
    document.querySelector(`[name=take][value="${which}"]`).checked = true;
    const take = this.takes[which] ?? this.takes.at(-1);
    this.player.listen(take.buffer, which === "original");
    this.timeline.show(take, take.buffer.getChannelData(0), take.duration_s);
    $("tempo").textContent = take.bpm ? take.bpm.toFixed(1) : "–";
    const people = take.dancers === 1 ? "one dancer" : `${take.dancers} dancers`;
    $("score-facts").textContent = `${take.beats.length} beats · ${people} · ${clockText(take.duration_s)}`;
    this.showTransport();
  }

  // A take's sound is a clock as good as a picture that cannot be shown.
  playBlind() {
    const take = this.takes[0];
    if (!take || !$("video").src.startsWith("blob:")) return;
    $("video-blind").hidden = false;
    $("video").src = `/api/takes/${take.take}/sound`;
    $("video").muted = true;
  }

  close() {
    $("video").pause();
    URL.revokeObjectURL($("video").src);
    ask(`/api/clips/${this.clip.id}`, { method: "DELETE" }).catch(() => {}); // it may be gone already
    Object.assign(this, { clip: null, takes: [], heard: null, before: null });
    $("video").removeAttribute("src");
    $("video").muted = false;
    $("studio").hidden = true;
    $("welcome").hidden = false;
    $("file").focus();
  }

  showTransport() {
    const paused = $("video").paused;
    $("play").classList.toggle("playing", !paused);
    $("play").setAttribute("aria-label", paused ? "Play" : "Pause");
  }

  drawFrame() {
    const video = $("video");
    const moved = video.currentTime !== this.drawn || $("skeleton").checked !== this.drawnSkeleton;
    const take = this.takes[this.heard] ?? this.takes.at(-1);
    if ($("studio").hidden || !take || (!moved && this.drawnTake === take && this.drawnWidth === video.clientWidth)) return;
    [this.drawn, this.drawnSkeleton, this.drawnTake] = [video.currentTime, $("skeleton").checked, take];
    this.drawnWidth = video.clientWidth;
    this.player.keepInStep();
    this.timeline.moveTo(video.currentTime);
    $("clock").textContent = `${clockText(video.currentTime)} / ${clockText(take.duration_s)}`;
    const picture = { width: video.videoWidth, height: video.videoHeight };
    this.skeleton.draw($("skeleton").checked ? take.track.at(video.currentTime) : [], picture);
  }
}

export const openStudio = (facts) => new Studio(facts);

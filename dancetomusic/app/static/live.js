// The live page: pictures of the camera go up, sound and the state of the beat come down.

import { Skeleton } from "./skeleton.js";

const FPS = 24;
const LONG_SIDE = 256;
const QUALITY = 0.7;
const BUFFER_MS = 100;
const MAX_UNSENT_BYTES = 60_000;
const TRY_LATER = 1013;
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const CAMERA_ERRORS = {
  NotAllowedError: ["The camera is not allowed.", "Allow it in the browser's address bar and start again."],
  NotFoundError: ["No camera was found.", "Connect one and start again."],
  NotReadableError: ["The camera is in use.", "Close the program that uses it."],
};

class Live {
  constructor(facts) {
    Object.assign(this, { running: false, sent: [], status: null, sound: null, delay: NaN });
    this.skeleton = new Skeleton($("camera-overlay"), facts);
    this.canvas = document.createElement("canvas");
    $("live-toggle").addEventListener("click", () => (this.running ? this.stop() : this.start()));
    $("volume").addEventListener("input", () => this.setVolume());
    document.addEventListener("tab", () => this.stop());
    addEventListener("pagehide", () => this.stop());
  }

  async start() {
    this.running = true;
    $("live-failure").hidden = true;
    $("live-toggle").textContent = "Stop";
    this.note("Waiting for the camera");
    try {
      if (!navigator.mediaDevices) {
        throw Object.assign(new Error(), { reason: ["No camera over plain HTTP.", "Open the page on this machine, or through HTTPS."] });
      }
      this.camera = await navigator.mediaDevices.getUserMedia({
        video: { width: 640, height: 480, frameRate: { ideal: 30 } },
      });
      $("camera").srcObject = this.camera;
      await $("camera").play();
      await this.openSound();
      if (this.running) this.openSocket();
    } catch (error) {
      const reason = error.reason ?? CAMERA_ERRORS[error.name];
      if (!reason) console.error(error);
      this.fail(...(reason ?? ["The camera or the sound cannot be started.", error.message]));
    }
  }

  async openSound() {
    this.context = new AudioContext({ sampleRate: 24000, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("static/sound-worklet.js");
    this.node = new AudioWorkletNode(this.context, "jitter-buffer", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { targetSamples: (BUFFER_MS / 1000) * this.context.sampleRate },
    });
    this.node.port.onmessage = ({ data }) => (this.sound = data);
    this.gain = this.context.createGain();
    this.node.connect(this.gain).connect(this.context.destination);
    this.setVolume();
    await this.context.resume();
  }

  openSocket() {
    this.note("Loading the model");
    const latencyMs = BUFFER_MS + Math.round(1000 * (this.context.outputLatency || 0));
    const address = new URL(`api/live?buffer_ms=${Math.min(1000, latencyMs)}`, document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => (data instanceof ArrayBuffer ? this.play(data) : this.receive(JSON.parse(data)));
    socket.onclose = ({ code }) => {
      if (!this.running || this.socket !== socket) return;
      if (!$("live-failure").hidden) this.stop();
      else if (code === TRY_LATER) this.fail("The server plays to others already.", "Try again later.");
      else this.fail("The connection ended.", "Start again.");
    };
    this.socket = socket;
  }

  receive(message) {
    if (message.problem) {
      this.fail(`${message.problem[0].toUpperCase()}${message.problem.slice(1)}.`, message.remedy);
    } else if (message.sample_rate) {
      this.note("");
      this.startedAt = performance.now();
      this.due = 0;
      this.sendFrames();
    } else {
      this.status = message;
      this.show();
    }
  }

  play(data) {
    this.node.port.postMessage(data, [data]);
  }

  // A picture whenever the camera has a new one, at most FPS a second on average.
  sendFrames() {
    const video = $("camera");
    const next = (act) =>
      video.requestVideoFrameCallback ? video.requestVideoFrameCallback((_, frame) => act(frame.captureTime)) : setTimeout(act, 1000 / FPS);
    const step = (captured) => {
      if (!this.running) return;
      next(step);
      const now = performance.now();
      if (now < this.due - 2) return;
      this.due = Math.max(this.due + 1000 / FPS, now - 1000 / FPS);
      this.send(captured ?? now);
    };
    next(step);
  }

  send(time) {
    const { canvas, socket } = this;
    const video = $("camera");
    if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_UNSENT_BYTES || !video.videoWidth) return;
    const scale = LONG_SIDE / Math.max(video.videoWidth, video.videoHeight);
    const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(video, 0, 0, width, height);
    canvas.toBlob(
      async (picture) => {
        const head = new DataView(new ArrayBuffer(8));
        head.setFloat64(0, time / 1000, true);
        const message = await new Blob([head, picture]).arrayBuffer();
        if (socket.readyState !== WebSocket.OPEN) return;
        socket.send(message);
        const now = performance.now();
        this.sent = [...this.sent.filter((at) => at > now - 2000), now];
      },
      "image/jpeg",
      QUALITY,
    );
  }

  // Pictures a second over the last two seconds, or since the start.
  sentFps() {
    const now = performance.now();
    const seconds = Math.min(2, (now - this.startedAt) / 1000);
    return this.sent.filter((at) => at > now - 2000).length / seconds;
  }

  show() {
    const { status, sound } = this;
    const certain = status.present && status.confidence > 0.05;
    $("live-tempo").textContent = certain ? status.bpm.toFixed(1) : "–";
    $("beat-number").textContent = certain ? status.beat_number : "";
    const beat = certain ? Math.max(0, 1 - 2.5 * status.beat_phase) : 0;
    $("pulse").style.setProperty("--beat", calm.matches ? (certain ? 0.25 : 0) : beat.toFixed(2));
    $("live-dancer").textContent = status.present ? (status.dancers > 1 ? `${status.dancers} seen` : "seen") : "nobody";
    $("live-confidence").value = status.confidence;
    $("live-energy").value = status.energy;
    const ms = status.movement_to_sound.p50_ms;
    $("live-latency").textContent = ms === null ? "–" : `${Math.round(ms)} ms`;
    $("live-fps").textContent = this.sent.length ? `${this.sentFps().toFixed(0)} a second` : "–";
    if (sound) {
      $("live-level").value = Math.min(1, 3 * sound.rms);
      $("live-buffer").textContent = `${Math.round(sound.buffered_ms)} ms`;
      $("live-gaps").textContent = String(sound.gaps + status.underruns);
    }
    const video = $("camera");
    const shown = $("live-skeleton").checked && status.landmarks ? [status.landmarks] : [];
    this.skeleton.draw(shown, { width: video.videoWidth, height: video.videoHeight });
  }

  setVolume() {
    const volume = $("volume").value;
    $("volume-value").textContent = `${volume} %`;
    if (this.gain) this.gain.gain.value = volume / 100;
  }

  note(text) {
    $("live-note").textContent = text;
    $("live-note").hidden = !text;
  }

  fail(problem, remedy) {
    this.stop();
    $("live-problem").textContent = problem;
    $("live-remedy").textContent = remedy;
    $("live-failure").hidden = false;
  }

  stop() {
    if (!this.running) return;
    this.running = false;
    this.socket?.close();
    this.context?.close();
    this.camera?.getTracks().forEach((track) => track.stop());
    $("camera").srcObject = null;
    Object.assign(this, { socket: null, context: null, camera: null, gain: null, sound: null, sent: [] });
    this.skeleton.draw([], { width: 1, height: 1 });
    $("live-toggle").textContent = "Start the camera";
    this.note("The camera is off.");
  }
}

export const openLive = (facts) => new Live(facts);

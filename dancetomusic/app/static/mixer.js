// A fader, mute and solo for each track of a score, heard at once.

import { element } from "./elements.js";

const LOWEST_DB = -40; // is silence
const HIGHEST_DB = 6;
const METER_DB = 42;

const gainOf = (db) => (db <= LOWEST_DB ? 0 : 10 ** (db / 20));
const sayDb = (db) => (db <= LOWEST_DB ? "off" : `${db > 0 ? "+" : ""}${db.toFixed(1)} dB`);
const unchanged = () => ({ db: 0, mute: false, solo: false });

export class Mixer {
  // `player` plays what the faders say; `onChange(levels)` follows every change.
  constructor(root, channels, reset, { player, onChange }) {
    Object.assign(this, { root, channels, reset, player, onChange, states: new Map(), strips: [] });
    reset.addEventListener("click", () => {
      for (const name of this.states.keys()) this.states.set(name, unchanged());
      this.apply();
    });
  }

  // The tracks of the take that is played; faders stay where they are from take to take.
  show(names) {
    this.root.hidden = !names.length;
    for (const name of names) if (!this.states.has(name)) this.states.set(name, unchanged());
    if (names.join() !== this.strips.map(({ name }) => name).join()) {
      this.strips = names.map((name, index) => this.strip(name, index));
      this.channels.replaceChildren(...this.strips.map(({ root }) => root));
    }
    this.apply();
  }

  strip(name, index) {
    const set = (values) => {
      Object.assign(this.states.get(name), values);
      this.apply();
    };
    const fader = element("input", {
      type: "range", min: LOWEST_DB, max: HIGHEST_DB, step: 0.5, className: "fader", ariaLabel: `Level of ${name}`,
    });
    fader.setAttribute("orient", "vertical"); // browsers that know no vertical writing here
    fader.addEventListener("input", () => set({ db: Number(fader.value) }));
    fader.addEventListener("dblclick", () => set({ db: 0 }));
    const key = (letter, of, title) => {
      const button = element("button", { type: "button", className: of, textContent: letter, ariaLabel: `${title} ${name}`, title });
      button.addEventListener("click", () => set({ [of]: !this.states.get(name)[of] }));
      return button;
    };
    const [mute, solo] = [key("M", "mute", "Mute"), key("S", "solo", "Solo")];
    const meter = element("span", { className: "level" });
    const value = element("output", {});
    const root = element("div", { className: "channel" }, [
      element("span", { className: "channel-name", textContent: name }),
      element("div", { className: "throw" }, [fader, element("span", { className: "lamp", ariaHidden: "true" }, [meter])]),
      value,
      element("div", { className: "keys" }, [mute, solo]),
    ]);
    root.dataset.track = index % 4;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", name);
    return { name, root, fader, mute, solo, meter, value };
  }

  // Gains of tracks by name, as they are heard.
  levelsOf(names) {
    const states = names.map((name) => [name, this.states.get(name) ?? unchanged()]);
    const solo = states.some(([, state]) => state.solo);
    return Object.fromEntries(states.map(([name, state]) => [name, state.mute || (solo && !state.solo) ? 0 : gainOf(state.db)]));
  }

  apply() {
    const levels = this.levelsOf(this.strips.map(({ name }) => name));
    for (const { name, root, fader, mute, solo, value } of this.strips) {
      const state = this.states.get(name);
      fader.value = state.db;
      value.textContent = sayDb(state.db);
      fader.setAttribute("aria-valuetext", sayDb(state.db));
      mute.setAttribute("aria-pressed", state.mute);
      solo.setAttribute("aria-pressed", state.solo);
      root.classList.toggle("silent", levels[name] === 0);
    }
    this.reset.disabled = this.strips.every(({ name }) => {
      const { db, mute, solo } = this.states.get(name);
      return db === 0 && !mute && !solo;
    });
    this.player.setLevels(levels);
    this.onChange(levels);
  }

  drawLevels() {
    for (const { name, meter } of this.strips) {
      const db = 20 * Math.log10(this.player.level(name) + 1e-9);
      meter.style.transform = `scaleY(${Math.min(1, Math.max(0, 1 + db / METER_DB)).toFixed(3)})`;
    }
  }
}

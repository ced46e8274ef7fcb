// One piece of work at a time, with its progress, its error, or neither.

import { cancelJob, Refused } from "./server.js";

const $ = (id) => document.getElementById(id);
const [TELLING_SHARE, TELLING_MS] = [0.1, 3000]; // of a stage, from which on its end can be foreseen

export class Work {
  // `onChange(busy)` is called when work begins and ends.
  constructor(onChange) {
    Object.assign(this, { onChange, now: null, done: Promise.resolve(), stages: {}, other: null });
    $("cancel").addEventListener("click", () => this.cancel());
    $("cancel-other").addEventListener("click", () => this.cancelOther());
    $("failure-close").addEventListener("click", () => ($("failure").hidden = true));
  }

  get busy() {
    return this.now !== null;
  }

  cancel() {
    this.now?.abort();
    return this.done;
  }

  // Do `act(signal)`, showing its stages; gives whether it came to its end.
  run(title, stages, act) {
    if (this.busy) return Promise.resolve(false);
    this.done = this.doIt(title, stages, act);
    return this.done;
  }

  async doIt(title, stages, act) {
    this.now = new AbortController();
    $("failure").hidden = true;
    $("busy-title").textContent = title;
    this.stages = stages;
    $("stages").replaceChildren(
      ...[...new Set(Object.values(stages))].map((text) => {
        const item = document.createElement("li");
        const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
        bar.setAttribute("aria-label", text);
        item.append(text, bar);
        return item;
      }),
    );
    this.note("");
    $("busy").hidden = false;
    this.onChange(true);
    try {
      await act(this.now.signal);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return false;
    } finally {
      this.now = null;
      this.waitFor(null);
      $("busy").hidden = true;
      this.onChange(false);
    }
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

  // While the server is busy; gives whether the visitor's own other job was cancelled.
  waiting(seconds, job) {
    const [gone, who] = [this.other?.gone, job ? "Another job of yours is at work, perhaps in another tab" : "The server is busy"];
    this.waitFor(gone ? null : job);
    this.note(`${who}. Trying again in ${seconds} s.`);
    return Boolean(gone);
  }

  waitFor(job) {
    this.other = job ? { job } : null;
    $("cancel-other").hidden = !job;
  }

  async cancelOther() {
    const { other } = this;
    if (!other) return;
    await cancelJob(other.job);
    other.gone = true;
  }

  showProgress({ state, stage, share, place, wait_s: wait }) {
    this.waitFor(null);
    if (state === "waiting") this.note(`Number ${place} in the queue, about ${wait} s to go.`);
    else if (stage) this.showStage(stage, share);
    else this.note("");
  }

  // A share of null is work of unknown length.
  showStage(name, share) {
    if (!(name in this.stages)) return;
    if (name !== this.stage) Object.assign(this, { stage: name, stageBegan: performance.now() });
    const spent = performance.now() - this.stageBegan;
    const left = ((spent / 1000) * (1 - share)) / share;
    this.note(share > TELLING_SHARE && share < 1 && spent > TELLING_MS ? `About ${Math.ceil(left)} s left of this step.` : "");
    let done = true;
    for (const item of $("stages").children) {
      const bar = item.querySelector("progress");
      const now = item.firstChild.data === this.stages[name];
      if (now) done = false;
      item.classList.toggle("now", now);
      if (now && share === null) bar.removeAttribute("value");
      else bar.value = now ? share : done ? 1 : 0;
    }
  }
}

// The page: what the package says of itself, and two tabs.

import { ask } from "./server.js";
import { openLive } from "./live.js";
import { openStudio } from "./studio.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  document.dispatchEvent(new CustomEvent("tab", { detail: tab.id }));
}

for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(index + step + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
}

const facts = await (await ask("api/facts")).json();
export const studio = openStudio(facts);
export const live = openLive(facts);
if (location.hash === "#live") select(tabs[1]);
await studio.followAddress();
document.documentElement.dataset.ready = "";

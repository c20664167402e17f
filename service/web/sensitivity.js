// What single changes to a network cost and gain, requested once the budget rests.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { short } from "./format.js";

const REST_MS = 250;
const SHOWN = 4;

export class Sensitivity {
  constructor(container) {
    this.container = container;
  }

  /** Request the changes of a network on a device, and show them. */
  ask(supernet, device, precision, arch) {
    const key = JSON.stringify([supernet, device, precision, arch]);
    if (key === this.key) return;
    this.key = key;
    clearTimeout(this.resting);
    this.asked?.abort();
    this.container.classList.add("waiting");
    this.resting = setTimeout(async () => {
      this.asked = new AbortController();
      const path = `/v1/supernets/${encodeURIComponent(supernet)}/devices/${encodeURIComponent(device)}/explain`;
      const query = new URLSearchParams({ arch: JSON.stringify(arch), precision });
      try {
        const { prices } = await get(`${path}?${query}`, { signal: this.asked.signal });
        if (key === this.key) show(this.container, table("Shrink first: least accuracy lost for the time saved", prices.shrink_first), table("Grow first: most accuracy gained for the time", prices.grow_first));
      } catch (error) {
        if (error.name === "AbortError") return;
        show(this.container); // the page works without them
      }
      this.container.classList.remove("waiting");
    }, REST_MS);
  }
}

const signed = (value, digits) => `${value < 0 ? "−" : "+"}${short(Math.abs(value), digits)}`;
const words = (unit) => unit.replace(/^stage(\d+)_block(\d+)$/, "Block $1.$2").replace(/^stage(\d+)$/, "Stage $1").replace(/^./, (letter) => letter.toUpperCase());

function table(title, changes) {
  if (!changes.length) return null;
  const row = (change) =>
    h("tr", {}, h("th", { scope: "row" }, words(change.unit)), h("td", {}, change.change), h("td", { class: "n" }, `${signed(change.extra_ms, 2)} ms`), h("td", { class: "n" }, `${signed(change.gain, 2)} pt`));
  return h(
    "table",
    {},
    h("caption", {}, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Where"), h("th", { scope: "col" }, "Change"), h("th", { scope: "col", class: "n" }, "Latency, predicted"), h("th", { scope: "col", class: "n" }, "Top-1, predicted"))),
    h("tbody", {}, changes.slice(0, SHOWN).map(row)),
  );
}

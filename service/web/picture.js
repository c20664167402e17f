// The picture of a network: the SVG that the service draws, in the page's own colours.

import { request } from "./api.js";
import { h, show } from "./dom.js";

const MOST_KEPT = 200;
const PAUSE_MS = 100; // between two requests while a budget is dragged
const MOST_ENLARGED = 1.4;

export class Picture {
  constructor(frame) {
    this.frame = frame;
    this.kept = new Map(); // path -> element, oldest first
  }

  /** Show the picture at `path`; the one before it stays until it has arrived. */
  show(path) {
    if (path === this.wanted) return;
    this.wanted = path;
    if (this.kept.has(path)) show(this.frame, this.kept.get(path));
    else this.#load();
  }

  /** The latency tables have changed, and the bars of every picture with them. */
  forget() {
    this.kept = new Map();
    this.wanted = null;
  }

  /** One request at a time: what was wanted meanwhile is asked for next, the last of it only. */
  async #load() {
    if (this.loading) return;
    this.loading = true;
    this.frame.setAttribute("aria-busy", "true");
    while (this.wanted && !this.kept.has(this.wanted)) {
      const { wanted, kept } = this;
      let drawn;
      try {
        drawn = read(await (await request(wanted)).text());
        kept.set(wanted, drawn);
        if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
      } catch (error) {
        drawn = h("p", { class: "empty" }, `No picture: ${error.message}`);
      }
      if (wanted === this.wanted) {
        show(this.frame, drawn);
        if (!kept.has(wanted)) this.wanted = null; // asked for again next time
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.frame.removeAttribute("aria-busy");
    this.loading = false;
  }
}

/** Read without its style: figures.css has the page's own, and the page's policy forbids others. */
function read(text) {
  const parsed = new DOMParser().parseFromString(text.replace(/<style>[^]*?<\/style>/, ""), "image/svg+xml");
  const svg = document.importNode(parsed.documentElement, true);
  const width = Number(svg.getAttribute("width"));
  Object.assign(svg.style, { minWidth: `${width}px`, maxWidth: `${MOST_ENLARGED * width}px` });
  return svg;
}

// Fronts as curves, the error of both numbers as a band, and a budget line that can be dragged.

import { s, show } from "./dom.js";
import { needsLog, within } from "./front.js";
import { forImages, ms, share, short } from "./format.js";
import { inWords, mark, shortName } from "./published.js";
import { logTicks, ticks } from "./ticks.js";

const MARGIN = { top: 54, right: 18, bottom: 44, left: 54 };

export class Chart {
  /** `onBudget(latency_ms)` while the line is dragged. */
  constructor(container, onBudget) {
    this.container = container;
    this.onBudget = onBudget;
    this.fronts = [];
    this.budget = null;
    this.focus = null;
    // On the container, since a curve that arrives during a drag draws everything anew.
    container.addEventListener("pointerdown", (event) => this.#drag(event));
    new ResizeObserver(() => this.fronts.length && this.#draw()).observe(container);
  }

  /** Each front: {device, hue, dash, points, published, expected_error}; `confidence` of their bounds, or null. */
  update(fronts, focus, budget, confidence) {
    this.confidence = confidence;
    this.fronts = fronts;
    this.focus = focus;
    this.budget = budget;
    this.#draw();
  }

  /** The only work while a budget is dragged. */
  move(budget) {
    this.budget = budget;
    if (this.line) this.#place();
  }

  #draw() {
    const width = Math.max(200, this.container.clientWidth);
    const height = this.container.clientHeight;
    this.right = width - MARGIN.right;
    this.bottom = height - MARGIN.bottom;
    this.#scales();
    const clip = s("clipPath", { id: "plot" }, s("rect", { x: MARGIN.left, y: MARGIN.top, width: this.right - MARGIN.left, height: this.bottom - MARGIN.top }));
    const drawn = [...this.fronts].sort((a, b) => (a.device === this.focus) - (b.device === this.focus));
    const svg = s(
      "svg",
      { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.#inWords() },
      s("defs", {}, clip),
      this.#axes(width, height),
      s("g", { "clip-path": "url(#plot)" }, drawn.map((front) => this.#band(front)), drawn.map((front) => this.#curve(front)), drawn.map((front) => this.#published(front))),
      (this.line = this.#line()),
      (this.dots = s("g", { class: "dots" })),
    );
    show(this.container, svg);
    this.#place();
  }

  #scales() {
    const published = this.fronts.flatMap((front) => front.published).map(({ published: p }) => ({ limited_ms: p.latency_ms, top1: p.top1 }));
    const all = [...this.fronts.flatMap((front) => front.points), ...published];
    const low = Math.min(...all.map((p) => p.limited_ms));
    const high = Math.max(...all.map((p) => p.limited_ms));
    this.log = needsLog(low, high);
    // Room for the errors as well, so that no band is cut off; of large errors, equally on all sides.
    const error = (name) => Math.max(0, ...this.fronts.map((front) => front.expected_error[name] ?? 0));
    const wide = this.confidence == null ? error("latency_ms") : 0;
    const pad = this.log ? Math.max(Math.log(high / low) * 0.04, Math.min(wide, Math.log(high / low) * 0.15)) : Math.max((high - low) * 0.05, Math.min(wide * high, (high - low) * 0.15)) || low * 0.1;
    const [from, to] = this.log ? [Math.log(low) - pad, Math.log(high) + pad] : [Math.max(0, low - pad), high + pad];
    const scale = (value) => (this.log ? Math.log(value) : value);
    const span = this.right - MARGIN.left;
    this.x = (value) => MARGIN.left + (span * (scale(value) - from)) / (to - from);
    this.latency = (x) => {
      const value = from + ((x - MARGIN.left) / span) * (to - from);
      return this.log ? Math.exp(value) : value;
    };
    this.extent = this.log ? [Math.exp(from), Math.exp(to)] : [from, to];
    const top1 = all.map((p) => p.top1);
    const [worst, best] = [Math.min(...top1), Math.max(...top1)];
    const height = best - worst;
    const room = (height ? Math.max(height * 0.08, Math.min(1.15 * error("top1"), height * 0.5)) : 1.15 * error("top1")) || 0.5;
    this.range = [worst - room, Math.min(100, best + room)];
    this.y = (value) => this.bottom - ((this.bottom - MARGIN.top) * (value - this.range[0])) / (this.range[1] - this.range[0]);
  }

  #axes(width, height) {
    const xs = this.log ? logTicks(...this.extent) : ticks(...this.extent, Math.max(3, Math.floor(width / 110)));
    const ys = ticks(...this.range, Math.max(3, Math.floor(height / 70)));
    return s(
      "g",
      { class: "axes", "aria-hidden": "true" },
      ys.map((v) => [
        s("line", { class: "grid", x1: MARGIN.left, x2: this.right, y1: this.y(v), y2: this.y(v) }),
        s("text", { x: MARGIN.left - 9, y: this.y(v) + 4, "text-anchor": "end" }, short(v, 4)),
      ]).flat(),
      s("line", { class: "axis", x1: MARGIN.left, x2: this.right, y1: this.bottom, y2: this.bottom }),
      xs.map((v) => [
        s("line", { class: "axis", x1: this.x(v), x2: this.x(v), y1: this.bottom, y2: this.bottom + 5 }),
        s("text", { x: this.x(v), y: this.bottom + 19, "text-anchor": "middle" }, short(v)),
      ]).flat(),
      s("text", { class: "name", x: this.right, y: height - 6, "text-anchor": "end" }, `${this.#latencyInWords()}${this.log ? " (logarithmic)" : ""}`),
      s("text", { class: "name", x: 2, y: 12 }, "Top-1, %, predicted"),
    );
  }

  #curve(front) {
    // A step: a budget between two networks is met by the faster one.
    let path = "";
    for (const p of front.points) {
      const [x, y] = [this.x(p.limited_ms).toFixed(1), this.y(p.top1).toFixed(1)];
      path += path ? `H${x}V${y}` : `M${x} ${y}`;
    }
    path += `H${this.right}`;
    return s("path", { class: `curve${front.device === this.focus ? " focus" : ""}`, d: path, stroke: `var(--hue-${front.hue})`, "stroke-dasharray": front.dash });
  }

  #band(front) {
    const wide = front.expected_error.latency_ms ?? 0;
    const tall = front.expected_error.top1 ?? 0;
    // Around a prediction, its mean error; with a confidence, from the prediction to the bound.
    const edge = (p, sign) => (this.confidence == null ? p.latency_ms * (1 - sign * wide) : sign > 0 ? p.latency_ms : p.limited_ms);
    const at = (p, sign) => `${this.x(edge(p, sign)).toFixed(1)} ${this.y(p.top1 + sign * tall).toFixed(1)}`;
    // Like the curve, it goes on to the right of the last network.
    const last = front.points.at(-1);
    const edgeOf = (sign) => [...front.points.map((p) => at(p, sign)), `${Math.max(this.right, this.x(edge(last, sign))).toFixed(1)} ${this.y(last.top1 + sign * tall).toFixed(1)}`];
    const [over, under] = [edgeOf(1), edgeOf(-1)];
    const colour = `var(--hue-${front.hue})`;
    // Of several bands, only the one in focus is filled; each has its edges in its own dashes.
    return s(
      "g",
      { class: `band${front.device === this.focus ? " focus" : ""}` },
      s("path", { class: "area", d: `M${[...over, ...[...under].reverse()].join("L")}Z`, fill: colour }),
      [over, under].map((points) => s("path", { class: "edge", d: `M${points.join("L")}`, stroke: colour, "stroke-dasharray": front.dash })),
    );
  }

  #published(front) {
    return front.published.map((item) => {
      const [x, y] = [this.x(item.published.latency_ms), this.y(item.published.top1)];
      const name = front.device === this.focus ? s("text", { x: x + 8, y: y + 4 }, shortName(item.id)) : null;
      return s("g", { class: "published" }, s("title", {}, inWords(item)), mark(x, y, front.hue), name);
    });
  }

  #line() {
    return s(
      "g",
      { class: "budget-line", "aria-hidden": "true" },
      s("line", { y1: MARGIN.top - 8, y2: this.bottom }),
      s("rect", { class: "grip", x: -38, y: 22, width: 76, height: 22, rx: 11 }),
      s("text", { y: 37, "text-anchor": "middle" }),
    );
  }

  #place() {
    if (this.budget == null) return void this.line.setAttribute("visibility", "hidden");
    const x = Math.min(this.right, Math.max(MARGIN.left, this.x(this.budget)));
    this.line.removeAttribute("visibility");
    this.line.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
    this.line.lastChild.textContent = `${ms(this.budget)} ms`;
    const dots = this.fronts.map((front) => {
      const point = front.points[within(front.points, this.budget)];
      if (!point) return null;
      const r = front.device === this.focus ? 5.5 : 4;
      return s("circle", { cx: this.x(point.limited_ms), cy: this.y(point.top1), r, fill: `var(--hue-${front.hue})` });
    });
    show(this.dots, dots);
  }

  #drag(event) {
    const { container } = this;
    const svg = event.target.closest("svg.chart");
    if (event.button !== 0 || !svg) return;
    const { left } = svg.getBoundingClientRect();
    const set = (move) => this.onBudget(this.latency(Math.min(this.right, Math.max(MARGIN.left, move.clientX - left))));
    const stop = new AbortController();
    container.setPointerCapture(event.pointerId);
    container.addEventListener("pointermove", set, { signal: stop.signal });
    for (const end of ["pointerup", "pointercancel"]) container.addEventListener(end, () => stop.abort(), { signal: stop.signal });
    set(event);
  }

  #inWords() {
    const ends = this.fronts.map((f) => {
      const [a, b] = [f.points[0], f.points.at(-1)];
      return `${f.device}: from ${a.top1.toFixed(2)} % at ${ms(a.limited_ms)} ms to ${b.top1.toFixed(2)} % at ${ms(b.limited_ms)} ms`;
    });
    const published = this.fronts.flatMap((front) => front.published).map(inWords);
    return `Predicted accuracy. ${[this.#latencyInWords(), ...ends, ...published].join(". ")}.`;
  }

  #latencyInWords() {
    const batches = [...new Set(this.fronts.map((front) => front.batch))];
    const images = batches.length === 1 ? forImages(batches[0]) : ", each for its own batch";
    return this.confidence == null ? `Latency, ms${images}, predicted` : `Upper bound of the latency, ms${images}, nominal ${share(this.confidence, 4)}`;
  }
}

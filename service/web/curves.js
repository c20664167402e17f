// A measurement as it fills in: latency of whole networks against their MACs, and the device's speed
// over the rounds. Drawn alike on the device's page and on the host's.

import { h, s, show } from "./dom.js";
import { ms, short } from "./format.js";
import { ticks } from "./ticks.js";

const SLOW = 80; // percent of the best speed, below which a device throttles: always in sight
const MARGIN = { top: 26, right: 12, bottom: 34, left: 46 };

export class Curves {
  /** Fills `container`; `update` draws. */
  constructor(container) {
    this.networks = new Plot("Latency of whole networks", "MACs, millions", "ms");
    this.speed = new Plot("Speed, as a share of the best", "Round", "%");
    show(container, h("div", { class: "plots" }, this.networks.element, this.speed.element));
  }

  /** `networks`: [{macs, latency_ms}], `speed`: [share of the best, one a round]. */
  update({ networks = [], speed = [] }) {
    const dots = networks.map(({ macs, latency_ms }) => [macs / 1e6, latency_ms]).sort((a, b) => a[0] - b[0]);
    this.networks.draw(dots, trend(dots), networks.length ? `${count(networks.length, "network")}, ${ms(Math.min(...dots.map((d) => d[1])))} to ${ms(Math.max(...dots.map((d) => d[1])))} ms` : "No network yet");
    const rounds = speed.map((share, i) => [i + 1, 100 * share]);
    this.speed.draw(rounds, rounds, speed.length ? `${count(speed.length, "round")}, least ${short(Math.min(...speed) * 100, 3)} % of the best` : "No round yet");
  }
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** The ends of the straight line with the least squares. */
function trend(dots) {
  if (dots.length < 3) return [];
  const [mx, my] = [0, 1].map((side) => dots.reduce((sum, dot) => sum + dot[side], 0) / dots.length);
  const spread = dots.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  if (!spread) return [];
  const slope = dots.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / spread;
  return [dots[0][0], dots.at(-1)[0]].map((x) => [x, my + slope * (x - mx)]);
}

/** A small plot of dots and one line. */
export class Plot {
  constructor(title, across, unit) {
    this.box = h("div", { class: "plot-box" });
    this.words = h("span", { class: "hint" });
    this.element = h("figure", { class: "plot" }, h("figcaption", {}, h("span", { class: "label" }, title), this.words), this.box);
    Object.assign(this, { title, across, unit, drawn: null });
    new ResizeObserver(() => this.drawn && this.draw(...this.drawn)).observe(this.box);
  }

  draw(dots, line, words) {
    this.drawn = [dots, line, words];
    this.words.textContent = words;
    const [width, height] = [Math.max(220, this.box.clientWidth), this.box.clientHeight || 170];
    const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
    const drawn = [...dots, ...line];
    const x = scale(drawn.map((dot) => dot[0]), MARGIN.left, right);
    const y = scale([...drawn.map((dot) => dot[1]), ...(this.unit === "%" ? [SLOW, 100] : [])], bottom, MARGIN.top);
    const across = dots.length ? ticks(...x.ends, Math.max(2, width / 100)).filter((v) => this.unit !== "%" || Number.isInteger(v)) : [];
    const up = dots.length ? ticks(...y.ends, 4) : [];
    const path = line.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    show(
      this.box,
      s(
        "svg",
        { class: "chart small-chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${this.title}: ${words}` },
        up.map((v) => [s("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y(v), y2: y(v) }), s("text", { x: MARGIN.left - 7, y: y(v) + 4, "text-anchor": "end" }, short(v))]),
        s("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }),
        across.map((v) => s("text", { x: x(v), y: bottom + 15, "text-anchor": "middle" }, short(v))),
        s("text", { class: "name", x: right, y: height - 4, "text-anchor": "end" }, this.across),
        s("text", { class: "name", x: 2, y: 12 }, this.unit),
        path ? s("path", { class: "trend", d: path }) : null,
        dots.map(([a, b]) => s("circle", { cx: x(a), cy: y(b), r: dots.length > 60 ? 2 : 3.5 })),
      ),
    );
  }
}

/** From values to places between `from` and `to`. */
function scale(values, from, to) {
  const found = values.length ? values : [0, 1];
  const [low, high] = [Math.min(...found), Math.max(...found)];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  const ends = [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  const place = (value) => from + ((to - from) * (value - ends[0])) / (ends[1] - ends[0]);
  return Object.assign(place, { ends });
}

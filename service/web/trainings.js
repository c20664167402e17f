// Trainings under way, on the machine of the service: where each is, and its accuracy so far.

import { get } from "./api.js";
import { Plot } from "./curves.js";
import { h, show } from "./dom.js";
import { percent } from "./format.js";

const PAUSE_MS = 10_000;

export class Trainings {
  /** Fills `card`, which is hidden where nothing is trained, and asks again while it is visible. */
  constructor(card, body) {
    Object.assign(this, { card, body, plots: new Map() });
  }

  async open() {
    clearTimeout(this.timer);
    const { items } = await get("/v1/trainings").catch(() => ({ items: [] }));
    const shown = items.filter((item) => item.state !== "finished");
    const found = await Promise.all(shown.map(({ name }) => get(`/v1/trainings/${encodeURIComponent(name)}`).catch(() => null)));
    this.card.hidden = !shown.length;
    show(this.body, found.filter((training) => training).map((training) => this.#row(training)));
    if (shown.length) this.#later();
  }

  /** Ask again, but not for a view that nobody sees. */
  #later() {
    this.timer = setTimeout(() => (this.card.parentElement.hidden || document.hidden ? this.#later() : this.open()), PAUSE_MS);
  }

  #row(training) {
    const { name, points } = training;
    if (!this.plots.has(name)) this.plots.set(name, new Plot("Top-1 of the largest (line) and of others (dots)", "Step", "percent"));
    const plot = this.plots.get(name);
    const dots = points.flatMap((point) => Object.values(point.top1).map((top1) => [point.step, top1]));
    const line = points.filter((point) => "largest" in point.top1).map((point) => [point.step, point.top1.largest]);
    const row = h("article", { class: "training" }, h("h3", {}, name), h("p", { class: "hint" }, inWords(training)), plot.element);
    plot.draw(dots, line, points.length ? `measured on ${training.validation_images} held-out images` : "not measured yet");
    return row;
  }
}

/** Where a training is, what it takes still, and what was measured last. */
function inWords({ state, phase, step, steps, seconds_left: left, top1 }) {
  const place = `phase ${phase}, step ${step} of ${steps}`;
  const time = state === "running" ? (left == null ? "" : `, about ${duration(left)} left`) : ["; ", h("code", {}, "subnet-search supernets train RECIPE --resume"), " goes on"];
  const known = ["largest", "smallest"].filter((which) => which in top1).map((which) => `${which} ${percent(top1[which])} %`);
  return [`${state === "running" ? "Training" : "Not running"}: ${place}`, time, known.length ? `. Top-1: ${known.join(", ")}` : ""];
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

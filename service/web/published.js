// Networks that others published for a device, to see a curve against what was delivered.

import { get } from "./api.js";
import { h, s } from "./dom.js";
import { forImages, ms, percent, scaled } from "./format.js";
import { scroller } from "./tables.js";

export class Published {
  constructor() {
    this.known = new Map();
  }

  /** Ask once for what was published for a device; without an answer there is nothing to draw. */
  async load(device) {
    if (!this.known.has(device)) this.known.set(device, get(`/v1/networks?device=${encodeURIComponent(device)}`).then((answer) => answer.items, () => []).then((items) => this.known.set(device, items)));
    await this.known.get(device);
  }

  /** A device's table has changed, and so what is predicted. */
  forget(device) {
    this.known.delete(device);
  }

  /** Those that can be drawn beside a front: of its supernet and batch, at full precision. A bound
   * of the latency is not comparable with a published latency. */
  beside(front, supernet) {
    const items = this.known.get(front.device);
    if (!Array.isArray(items) || front.precision === "int8" || front.confidence != null) return [];
    return items.filter((item) => item.supernet === supernet && item.published.latency_ms != null && item.published.batch === front.batch);
  }
}

/** "lat-30ms" of "note10_lat-30ms_top1-78.4_finetune-75". */
export const shortName = (id) => id.split("_")[1] ?? id;

export const inWords = ({ id, published: p }) => `${id}: ${ms(p.latency_ms)} ms${forImages(p.batch)}, ${p.top1} %, published`;

/** A diamond. */
export const mark = (x, y, hue) => s("path", { class: "published", d: `M${x - 5} ${y}L${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}Z`, stroke: `var(--hue-${hue})` });

/** The legend, and all figures as a table, for what is drawn of `fronts`; null for nothing. */
export function legend(fronts) {
  const rows = fronts.flatMap((front) => front.published.map((item) => ({ ...item, front })));
  if (!rows.length) return null;
  const target = rows[0].front.provenance.top1?.predictor?.target;
  const heads = ["Published network", "Latency, ms", "Predicted, ms", "Top-1, %", "Predicted, %", "Pixels", "MACs"];
  const cells = ({ published, predicted, arch, macs }) => [ms(published.latency_ms), ms(predicted.latency_ms), published.top1.toFixed(1), percent(predicted.top1), String(arch.resolution), scaled(macs).join(" ")];
  const body = rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.id), cells(row).map((text) => h("td", { class: "n" }, text))));
  return h(
    "div",
    { class: "published-legend" },
    h(
      "p",
      { class: "hint" },
      s("svg", { class: "swatch", width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" }, mark(6, 6, rows[0].front.hue)),
      ` Published by the authors of Once-for-All: latency as they measured it, top-1 on ImageNet's validation images after fine-tuning each network. The curve is predicted, without fine-tuning${target ? `, for ${target}` : ""}.`,
    ),
    h(
      "details",
      {},
      h("summary", {}, `${rows.length} published network${rows.length > 1 ? "s" : ""} as a table`),
      scroller("Published networks", h("table", {}, h("thead", {}, h("tr", {}, heads.map((n, i) => h("th", { scope: "col", class: i ? "n" : null }, n)))), h("tbody", {}, body))),
      h("p", { class: "hint" }, "subnet-search networks export ID downloads one of them as an ONNX model."),
    ),
  );
}

// The best network within the budget: its numbers, and those of other budgets.

import { h, show } from "./dom.js";
import { trades, within } from "./front.js";
import { forImages, ms, percent, share, underRuntime } from "./format.js";
import { limitFigures } from "./limits.js";
import { conditionsInWords, doubts, figure, latencyFigures, latencyTag, tag, top1Tag } from "./origin.js";

/** Fill `body`. Returns the chosen point, or null if no network is that fast. */
export function showChosen(body, front, budget, onBudget) {
  const index = within(front.points, budget);
  if (index < 0) {
    const floor = front.points[0].limited_ms;
    show(
      body,
      h("div", { class: "empty" }, h("p", {}, `No network of this supernet is that fast on ${front.device}. The fastest ${front.confidence == null ? "is predicted to take" : `has an upper bound (nominal ${share(front.confidence, 4)}) of`} ${ms(floor)} ms${forImages(front.batch)}.`), h("button", { type: "button", class: "quiet", onclick: () => onBudget(floor) }, `Set the budget to ${ms(floor)} ms`)),
    );
    return null;
  }
  const point = front.points[index];
  const source = front.provenance;
  show(
    body,
    h("p", { class: "on" }, `within ${ms(budget)} ms${forImages(front.batch)} on `, h("b", {}, front.device), underRuntime(front.runtime), front.confidence == null ? "" : ` by the upper bound, nominal ${share(front.confidence, 4)}`, front.precision === "int8" ? ", int8" : ""),
    h(
      "dl",
      { class: "figures headline" },
      figure("Top-1", percent(point.top1), "%", top1Tag(source.top1), { large: true }),
      latencyFigures("Latency", point.latency_ms, front.batch, latencyTag(source.latency_ms, point.latency_ms)),
    ),
    h(
      "dl",
      { class: "figures" },
      limitFigures(point, source),
      figure("Resolution", String(point.arch.resolution), "px", tag("exact")),
    ),
    doubts(source.latency_ms),
    h("h3", {}, "With another budget"),
    h("ul", { class: "trades" }, trades(front.points, index, budget).map((trade) => tradeRow(trade, onBudget))),
    index === front.points.length - 1 ? h("p", { class: "conditions" }, budget > 1.01 * point.limited_ms ? `${ms(budget)} ms no longer limit: this is the end of the curve, a larger budget gives no better network.` : "This is the end of the curve: a larger budget gives no better network.") : null,
    (front.warnings ?? []).map((warning) => h("p", { class: "notice" }, warning)),
    h("p", { class: "conditions" }, `Latency from a table that is ${source.latency_ms.table_origin}: ${conditionsInWords(source.latency_ms.conditions)}.`),
  );
  return point;
}

const signed = (value, text) => `${value < 0 ? "−" : "+"}${text}`;

function tradeRow(trade, onBudget) {
  const gain = h("span", { class: trade.top1 < 0 ? "loss" : "gain" }, signed(trade.top1, `${Math.abs(trade.top1).toFixed(2)} pt`));
  const cost = signed(trade.latency_ms, `${ms(Math.abs(trade.latency_ms))} ms`);
  return h("li", {}, h("button", { type: "button", class: "trade", onclick: () => onBudget(trade.budget) }, h("span", {}, trade.label), h("span", { class: "n" }, cost), gain));
}

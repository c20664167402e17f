// What a number is: measured, fitted, predicted, estimated or exact, and how far it may be off.

import { h } from "./dom.js";
import { forImages, ms, share, short, underRuntime } from "./format.js";

/** A small label beside a number; `about` says how it came to be. */
export function tag(origin, error = "", about = "") {
  return h("span", { class: `tag ${origin}`, title: about || null }, origin, error ? h("span", { class: "error" }, ` ${error}`) : null);
}

/** One number: label, value with unit, and what it is. */
export function figure(name, value, unit, label, { large = false } = {}) {
  return h(
    "div",
    { class: large ? "figure large" : "figure" },
    h("dt", {}, name),
    h("dd", {}, h("span", { class: "value" }, value), unit ? h("span", { class: "unit" }, ` ${unit}`) : null, label),
  );
}

export function top1Tag(source) {
  const error = source?.expected_error;
  const about = source?.predictor ? `${source.predictor.kind}, ${source.predictor.method}, fitted on ${source.predictor.count} networks: ${source.predictor.target}` : "";
  const interval = source?.interval;
  const within = interval ? `, ${share(interval.confidence, 2)} within ± ${short(interval.points, 2)}` : "";
  return tag(source?.origin ?? "predicted", error == null ? "± unknown" : `± ${short(error, 2)} pt${within}`, about);
}

/** Mean error, and what all but a few networks stay within, where enough were measured. */
export function latencyTag(source, latency_ms) {
  const error = source?.expected_error;
  const bound = source?.upper_bound;
  const about = [source?.table_origin && `from a table that is ${source.table_origin}`, conditionsInWords(source?.conditions), source?.source].filter(Boolean).join("; ");
  return [
    tag(source?.origin ?? "predicted", error == null ? "± unknown" : `± ${ms(latency_ms * error)} ms`, about),
    bound ? h("span", { class: "bound", title: boundInWords(bound) }, `≤ ${ms(latency_ms * bound.factor)} ms, nominal ${Math.floor(100 * bound.confidence)} %`) : null,
  ];
}

function boundInWords({ method, networks, sittings, drift_fraction: drift }) {
  const spread = drift == null ? "drift between sittings unknown: subnet-search devices check adds a sitting" : `drift between them ${short(100 * drift, 2)} %`;
  return `${method}; ${networks} networks, ${sittings ?? 1} sitting${sittings > 1 ? "s" : ""}, ${spread}`;
}

/** A latency of a whole batch, and of one image of it. */
export function latencyFigures(name, latency_ms, batch, label, origin = "predicted") {
  return [
    figure(`${name}${forImages(batch)}`, ms(latency_ms), "ms", label, { large: true }),
    batch > 1 ? figure(`${name}, of one image`, ms(latency_ms / batch), "ms", tag(origin, "", `the batch of ${batch} divided by ${batch}`)) : null,
  ];
}

/** "p50", and whether it met the budget, of a measured latency. */
export function measuredTag({ p90, p99, outcome, budget_ms, statistic, conditions }) {
  const words = { met: "budget met", met_within_error: "budget met only within the table's stated error", missed: "budget missed" };
  return [
    tag("measured", "", `${statistic ?? "least p50 of a visit"} on this host${underRuntime(conditions?.runtime)}`),
    h("span", { class: "bound" }, `p90 ${ms(p90)}, p99 ${ms(p99)} ms`),
    outcome ? h("span", { class: "bound", title: `${ms(budget_ms)} ms` }, words[outcome] ?? outcome) : null,
  ];
}

/** "onnxruntime 1.32.0, CPUExecutionProvider, 1 thread, batch 1, fp32, AMD EPYC". */
export function conditionsInWords(conditions) {
  if (!conditions) return "";
  const { runtime, runtime_version, provider, threads, batch, precision, processor, io } = conditions;
  return [
    runtime === "not stated" ? null : [runtime, runtime_version].filter(Boolean).join(" "),
    provider,
    threads && `${threads} thread${threads > 1 ? "s" : ""}`,
    batch && `batch ${batch}`,
    io === "device" && "input and output on the device",
    precision,
    processor,
  ]
    .filter(Boolean)
    .join(", ");
}

/** For what a predicted latency may be wrong: a notice for each reason. */
export function doubts(source) {
  return (source?.warnings ?? []).map((text) => h("p", { class: "notice" }, `Warning about the device's table: ${text}.`));
}

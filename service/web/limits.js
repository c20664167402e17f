// The limits that a search can have, as the service names them in the page.

import { h } from "./dom.js";
import { scaled, short } from "./format.js";
import { figure, tag } from "./origin.js";

/** By name: {name, unit, label, noun, origin, in_millions, in_file, needs, if_unknown}. */
export const LIMITS = new Map(JSON.parse(document.querySelector("meta[name=limits]").content).map((limit) => [limit.name, limit]));
/** All but the latency, which has controls and figures of its own. */
export const FURTHER = [...LIMITS.values()].filter(({ name }) => name !== "latency_ms");

/** A value with its unit: ["11.8", "M"], ["3.2", "MB"], ["4.1", "mJ"]. */
export function quantity({ unit }, value, digits = 3) {
  if (unit !== "" && unit !== "B") return [short(value, digits), unit];
  const [number, prefix] = scaled(value);
  return [number, prefix + unit];
}

/** {latency_ms: 0.4, macs: 1e7} -> "≤ 0.4 ms, ≤ 10 M MACs"; a share as it is, a range with both ends. */
export function limits(constraints) {
  const words = ([name, value]) => {
    if (name === "latency_confidence") return `upper bound, nominal ${short(100 * value, 4)} %`;
    const limit = LIMITS.get(name) ?? { unit: "", noun: name };
    const written = (end) => (typeof end === "string" ? end : quantity(limit, end, 4).join(" ").trim());
    const ends = typeof value === "object" ? value : { max: value };
    const range = [ends.min, ends.max].filter((end) => end != null).map(written).join(" to ");
    const noun = limit.noun || (typeof value === "number" ? "" : limit.label.toLowerCase());
    const sign = ends.max == null ? "≥" : ends.min == null ? "≤" : "";
    return [sign, range, noun].filter(Boolean).join(" ");
  };
  return Object.entries(constraints).map(words).join(", ");
}

/** What a stored search was asked for: its limits as they were given, target, frozen parts and effort. */
export function askedInWords({ constraints, asked: given = constraints, target, frozen, effort }) {
  const fastest = target && `${target.minimize === "latency_ms" ? "fastest" : `least ${target.minimize}`} at top-1 ≥ ${short(target.top1, 4)} %`;
  const within = Object.keys(given).length > 0 && limits(given);
  const kept = Object.entries(frozen ?? {}).map(([key, choices]) => `${key}=${choices.join(",")}`);
  return [fastest, within, ...kept, effort && `${effort} effort`].filter(Boolean).join(", ");
}

/** The figures of a network's further limits: what is known, where from, and how far it may be off. */
export function limitFigures(network, provenance) {
  return FURTHER.map((limit) => {
    const { name, label } = limit;
    const [value, source] = [network[name], provenance[name]];
    if (value == null) return h("div", { class: "figure" }, h("dt", {}, label), h("dd", { class: "unknown", title: `needs ${limit.needs}` }, limit.if_unknown));
    if (limit.in_file) return figure(`${label}, at most`, ...quantity(limit, value), tag(limit.origin, "", "an upper bound; the search states the exact size"));
    const fraction = source?.expected_error_unit?.startsWith("fraction");
    const error = source?.expected_error == null || !fraction ? "" : `± ${quantity(limit, value * source.expected_error, 2).join(" ")}`;
    return figure(label, ...quantity(limit, value), tag(limit.origin, error, source?.method));
  });
}

// Searches side by side: what was asked, every number, the networks, and where they lie on their fronts.

import { get } from "./api.js";
import { Plot } from "./curves.js";
import { announce, h, show } from "./dom.js";
import { moment, ms, percent, short } from "./format.js";
import { FURTHER, askedInWords, quantity } from "./limits.js";
import { Picture } from "./picture.js";
import { problem } from "./problems.js";
import { deviceName } from "./search.js";
import { scroller, sideBySide } from "./tables.js";

/** Fill `place` with the searches of these ids; `back()` leads to the list. */
export async function showComparison(place, ids, back) {
  const leave = h("button", { type: "button", class: "quiet small", onclick: back }, "Back to the list");
  show(place, leave, h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), "Loading"));
  let found;
  try {
    found = await Promise.all(ids.map((id) => get(`/v1/searches/${encodeURIComponent(id)}`)));
  } catch (error) {
    return show(place, leave, problem(error.document ?? { detail: String(error) }));
  }
  const finished = found.filter((search) => search.result);
  const others = found.filter((search) => !search.result);
  show(
    place,
    h("p", { class: "actions" }, leave),
    others.map(({ id, status }) => h("p", { class: "notice" }, `Search ${id.slice(0, 8)} is ${status} and has no network to compare.`)),
    finished.length ? [card("Numbers", numbers(finished)), card("Networks", networks(finished), layers(finished)), card("On the front", fronts(finished))] : null,
  );
  announce(`${finished.length} searches side by side`);
}

const card = (title, ...content) => h("section", { class: "card" }, h("header", {}, h("h2", {}, title)), content);
const nameOf = (search) => `${deviceName(search)}, ${askedInWords(search.request)}`;
const names = (found) => found.map((search) => h("a", { href: `/?search=${search.id}` }, search.id.slice(0, 8)));

function numbers(found) {
  const of = (title, read) => [title, ...found.map((search) => read(search.result, search))];
  const values = [
    of("Asked", (_, { created_at }) => moment(created_at)),
    of("Supernet", (_, { request }) => request.supernet),
    of("Device", (_, search) => deviceName(search)),
    of("Runtime", ({ runtime }) => runtime),
    of("Limits", (_, { request }) => askedInWords(request)),
    of("Precision", (_, { request }) => request.precision),
    of("Top-1, %, measured", ({ verified }) => percent(verified.top1?.value)),
    of("Top-1, %, predicted", ({ top1 }) => percent(top1)),
    of("Latency, ms, measured", ({ verified }) => ms(verified.latency_ms?.value)),
    of("Latency, ms, predicted", ({ latency_ms }) => ms(latency_ms)),
    of("Upper bound, ms", ({ latency_upper_ms }) => ms(latency_upper_ms)),
    of("Images of a latency", ({ batch }) => String(batch)),
    of("Resolution, px", ({ arch }) => String(arch.resolution)),
    of("Layers", ({ layers: all }) => String(all.length)),
    ...FURTHER.map((limit) => of(`${limit.label}, ${limit.in_file ? "exact" : limit.origin}`, (result) => (result[limit.name] == null ? null : quantity(limit, result[limit.name]).join(" ")))),
    of("Energy of a year, kWh, estimated", ({ footprint }) => footprint?.energy_kwh_per_year && short(footprint.energy_kwh_per_year)),
    of("sha256", ({ sha256 }) => sha256.slice(0, 12)),
  ];
  return sideBySide("Numbers side by side", names(found), values.filter(([, ...cells]) => cells.some((cell) => cell != null && cell !== "–")));
}

function networks(found) {
  return found.map((search) => {
    const frame = scroller(`Architecture of ${search.id.slice(0, 8)}, scrolls sideways`);
    new Picture(frame).show(`/v1/searches/${search.id}/architecture.svg`);
    return h("figure", { class: "network" }, h("figcaption", { class: "hint" }, nameOf(search)), frame);
  });
}

function layers(found) {
  const times = found.map(({ result }) => new Map(result.layers.map((layer) => [layer.name, layer])));
  const all = [...new Set(found.flatMap(({ result }) => result.layers.map(({ name }) => name)))];
  const row = (name) => [name, ...times.map((known) => (known.has(name) ? layer(known.get(name)) : null))];
  return h("details", {}, h("summary", {}, "Every layer side by side"), sideBySide("Layers side by side", names(found), all.map(row)));
}

const layer = ({ kernel, mid_channels, out_channels, latency_ms }) => `${kernel}×${kernel}, ${[mid_channels, out_channels].filter(Boolean).join(" → ")}${latency_ms == null ? "" : `, ${ms(latency_ms)} ms`}`;

/** One plot for each front that the searches lie on: the front as a line, the networks as dots. */
function fronts(found) {
  const keys = new Map();
  for (const search of found) {
    const { supernet, precision } = search.request;
    const query = precision === "int8" ? "?precision=int8" : "";
    const path = `/v1/supernets/${encodeURIComponent(supernet)}/devices/${encodeURIComponent(deviceName(search))}/front${query}`;
    keys.set(path, [...(keys.get(path) ?? []), search]);
  }
  const plots = [...keys].map(([path, searches]) => {
    const plot = new Plot(`${searches[0].request.supernet} on ${deviceName(searches[0])}`, "Latency, ms, predicted", "%, predicted");
    const dots = searches.map(({ result }) => [result.latency_ms, result.top1]);
    plot.draw(dots, [], "the networks found");
    get(path).then(
      ({ points }) => plot.draw(dots, points.map((point) => [point.latency_ms, point.top1]), "line: the front now; dots: the networks found"),
      () => plot.draw(dots, [], "the device has no front here now"),
    );
    return plot.element;
  });
  return h("div", { class: "plots" }, plots);
}

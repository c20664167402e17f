// A network to scale, image to logits: a column a layer, its time below it.
//
// Heights are channels, widths are kernels. A block widens to its expansion, convolves, narrows
// again. Scales are the whole front's, so that pictures of different budgets can be compared.

import { h, s } from "./dom.js";
import { ms, scaled, share, short } from "./format.js";

const SHAPES = 150; // height of the drawing, pixels
const BARS = 84;
const TOP = 44;
const GROUPS = /^(stem|first)|^(stage\d+)/;

/** Slots of each stage, active or not. */
function slots(space) {
  return space.stages.map((stage) =>
    stage.depths ? Math.max(...stage.depths) : stage.least_blocks + Math.max(...space.extra_depths),
  );
}

function groupOf(name) {
  const [, start, stage] = GROUPS.exec(name) ?? [];
  return start ? "input" : (stage ?? "output");
}

/** Columns in order: {group, layer} or {group} for a block that the network leaves out. */
export function columns(layers, space) {
  const counts = slots(space);
  const groups = new Map([["input", []], ...counts.map((_, i) => [`stage${i + 1}`, []]), ["output", []]]);
  for (const layer of layers) groups.get(groupOf(layer.name))?.push({ layer });
  counts.forEach((count, i) => {
    const stage = groups.get(`stage${i + 1}`);
    while (stage.length < count) stage.push({});
  });
  return [...groups].flatMap(([group, found]) => found.map((column) => ({ ...column, group })));
}

/** Largest figures of a front, which are full scale. */
export function scaleOf(layers) {
  return {
    channels: Math.max(...layers.map((l) => Math.max(l.mid_channels, l.out_channels, l.in_channels))),
    latency_ms: Math.max(...layers.map((l) => l.latency_ms ?? 0)),
  };
}

export function picture(layers, overhead_ms, space, scale, available) {
  const shown = columns(layers, space);
  if (overhead_ms > 0) shown.push({ group: "output", overhead_ms });
  const gaps = new Set(shown.map((c) => c.group)).size - 1;
  const column = Math.max(33, Math.min(58, Math.floor((available - gaps * 10) / shown.length)));
  const height = TOP + SHAPES + 40 + BARS + 30;
  const width = shown.length * column + gaps * 10;
  const middle = TOP + SHAPES / 2;
  const floor = TOP + SHAPES + 40 + BARS;
  const full = Math.max(scale.latency_ms, overhead_ms);
  const content = [];
  let x = 0;
  shown.forEach((entry, i) => {
    if (i && entry.group !== shown[i - 1].group) x += 10;
    if (!i || entry.group !== shown[i - 1].group) {
      const count = shown.filter((c) => c.group === entry.group).length;
      content.push(heading(entry.group, shown, x, count * column, height, column));
    }
    const center = x + column / 2;
    if (entry.layer) content.push(block(entry.layer, center, middle, column, scale.channels));
    else if (!entry.overhead_ms) content.push(s("rect", { class: "left-out", x: center - 8, y: middle - 12, width: 16, height: 24, rx: 3 }));
    const time = entry.layer?.latency_ms ?? entry.overhead_ms;
    if (time != null) content.push(bar(time, full, center, floor, column, entry.layer?.name ?? "overhead"));
    x += column;
  });
  content.push(s("line", { class: "axis", x1: 0, x2: width, y1: floor, y2: floor }));
  return s("svg", { class: "network", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(layers) }, content);
}

function heading(group, shown, x, width, height, column) {
  const layers = shown.filter((c) => c.group === group && c.layer).map((c) => c.layer);
  const last = layers.at(-1);
  const title = group.startsWith("stage") ? (width > 70 ? `Stage ${group.slice(5)}` : `S${group.slice(5)}`) : group === "input" ? (width > 60 ? "Input" : "In") : "Output";
  const facts = group === "output" ? "" : `${last.out_channels} ch, ${last.out_size} px`;
  return s(
    "g",
    {},
    s("rect", { class: "stage", x, y: 0, width, height: height - 6, rx: 6 }),
    s("text", { class: "stage-name", x: x + 8, y: 17 }, title),
    width > 90 ? s("text", { class: "stage-facts", x: x + 8, y: 32 }, facts) : null,
  );
}

function block(layer, center, middle, column, most) {
  const tall = (channels) => Math.max(2, (SHAPES * channels) / most);
  const wide = Math.max(5, ((column - 14) * layer.kernel) / 7);
  const inner = layer.mid_channels || layer.out_channels;
  const [a, b, c] = [tall(layer.in_channels), tall(inner), tall(layer.out_channels)];
  const [l, r] = [center - wide / 2, center + wide / 2];
  const [from, to] = [Math.max(center - column / 2, l - 7), Math.min(center + column / 2, r + 7)];
  const blocky = layer.kind === "mbconv" || layer.kind === "bottleneck";
  const kind = blocky || layer.kind === "conv" ? `k${layer.kernel}` : "plain";
  const ratio = blocky && layer.mid_channels ? layer.mid_channels / (layer.kind === "mbconv" ? layer.in_channels : layer.out_channels) : null;
  const under = TOP + SHAPES + 14;
  return s(
    "g",
    { class: `block ${kind}` },
    s("title", {}, describe(layer)),
    layer.skip ? s("path", { class: "skip", d: `M${from} ${middle - b / 2 - 3}Q${center} ${middle - b / 2 - 14} ${to} ${middle - b / 2 - 3}` }) : null,
    s("path", { class: "wing", d: `M${from} ${middle - a / 2}L${l} ${middle - b / 2}V${middle + b / 2}L${from} ${middle + a / 2}Z` }),
    s("path", { class: "wing", d: `M${r} ${middle - b / 2}L${to} ${middle - c / 2}V${middle + c / 2}L${r} ${middle + b / 2}Z` }),
    s("rect", { class: "core", x: l, y: middle - b / 2, width: wide, height: b, rx: 1.5 }),
    layer.se_channels ? s("circle", { class: "se", cx: center, cy: middle, r: 2.6 }) : null,
    s("text", { x: center, y: under, "text-anchor": "middle" }, layer.kind === "linear" ? "fc" : layer.kind.endsWith("pool") ? "pool" : `${layer.kernel}×${layer.kernel}`),
    ratio ? s("text", { class: "ratio", x: center, y: under + 13, "text-anchor": "middle" }, `×${short(ratio, 2)}`) : null,
  );
}

function bar(time, full, center, floor, column, name) {
  const tall = Math.max(1, (BARS - 14) * (time / full));
  return s(
    "g",
    { class: "time" },
    s("title", {}, `${name}: ${ms(time)} ms, predicted`),
    s("rect", { x: center - column * 0.3, y: floor - tall, width: column * 0.6, height: tall, rx: 1.5 }),
    s("text", { x: center, y: floor - tall - 4, "text-anchor": "middle" }, time > full / 1000 ? short(time, 2) : ""),
    s("text", { class: "foot-name", x: center, y: floor + 14, "text-anchor": "middle" }, label(name)),
  );
}

const SHORT = { stem: "stem", first: "first", head: "head", pool: "pool", feature: "feat", classifier: "class", overhead: "extra", stem_pool: "pool", stem_out: "out", stem_residual: "res" };
const label = (name) => SHORT[name] ?? name.replace(/^stage(\d+)_block(\d+)$/, "$1.$2");

function describe(layer) {
  const parts = [`${layer.name}: ${layer.kind}, ${layer.in_channels} to ${layer.out_channels} channels`];
  if (layer.mid_channels) parts.push(`${layer.mid_channels} inside`);
  parts.push(`${layer.kernel}×${layer.kernel}, ${layer.in_size} to ${layer.out_size} px`);
  if (layer.se_channels) parts.push("squeeze-and-excitation");
  if (layer.skip) parts.push("shortcut");
  return parts.join(", ");
}

function inWords(layers) {
  const blocks = layers.filter((l) => /^stage/.test(l.name));
  const stages = new Map();
  for (const l of blocks) {
    const stage = groupOf(l.name);
    stages.set(stage, [...(stages.get(stage) ?? []), `${l.kernel}×${l.kernel}`]);
  }
  const each = [...stages].map(([name, kernels]) => `${name.replace("stage", "stage ")}: ${kernels.length} blocks with kernels ${kernels.join(", ")}`);
  return `Network of ${layers.length} layers. ${each.join("; ")}. The table below has every figure.`;
}

/** The same in words and figures. */
export function layerTable(layers, overhead_ms) {
  const total = layers.reduce((sum, l) => sum + (l.latency_ms ?? 0), overhead_ms);
  const row = (l) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, l.name),
      h("td", {}, l.kind),
      h("td", { class: "n" }, l.kernel > 1 || l.kind === "conv" ? `${l.kernel}×${l.kernel}` : ""),
      h("td", { class: "n" }, [l.in_channels, l.mid_channels, l.out_channels].filter(Boolean).join(" → ")),
      h("td", { class: "n" }, `${l.in_size} → ${l.out_size}`),
      h("td", { class: "n" }, ms(l.latency_ms)),
      h("td", { class: "n" }, share((l.latency_ms ?? 0) / total)),
      h("td", { class: "n" }, scaled(l.macs).join(" ")),
      h("td", { class: "n" }, scaled(l.params).join(" ")),
    );
  const names = ["Layer", "Kind", "Kernel", "Channels", "Pixels", "Latency, ms, predicted", "Share", "MACs, exact", "Parameters, exact"];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, names.map((n, i) => h("th", { scope: "col", class: i > 1 ? "n" : null }, n)))),
    h("tbody", {}, layers.map(row), overhead_ms > 0 ? h("tr", {}, h("th", { scope: "row" }, "overhead of a network"), h("td", { colspan: 4 }), h("td", { class: "n" }, ms(overhead_ms)), h("td", { class: "n" }, share(overhead_ms / total)), h("td", { colspan: 2 })) : null),
  );
}

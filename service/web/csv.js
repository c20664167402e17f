// Searches as CSV, with the columns of `searches --csv` and of the client's tables.

import { h } from "./dom.js";
import { LIMITS } from "./limits.js";

const names = [...LIMITS.keys()];
const COLUMNS = [
  ...["id", "status", "supernet", "device", "precision", "seed"],
  ...["limit", "minimum"].flatMap((end) => names.map((name) => `${end}_${name}`)),
  ...["latency_confidence", "target_top1", "minimize", "frozen"],
  ...["top1", "latency_ms", "measured_top1", "measured_latency_ms"],
  ...names.filter((name) => name !== "latency_ms"),
  ...["batch", "runtime", "latency_ms_per_image", "latency_outcome"],
  ...["current", "created_at", "finished_at", "sha256", "arch", "effort"],
];

function row({ request, result, ...search }) {
  const { supernet, device, precision, seed, constraints, minimums = {}, target, frozen } = request;
  const limits = [["limit", constraints], ["minimum", minimums]].flatMap(([end, bounds]) => Object.entries(bounds).map(([name, value]) => [`${end}_${name}`, value]));
  const asked = { supernet, device, precision, seed, effort: request.effort ?? "normal", ...Object.fromEntries(limits), latency_confidence: constraints.latency_confidence, target_top1: target?.top1, minimize: target?.minimize, frozen };
  const { top1, latency_ms } = result?.verified ?? {};
  return { ...result, ...search, ...asked, measured_top1: top1?.value, measured_latency_ms: latency_ms?.value, latency_outcome: latency_ms?.outcome };
}

/** A cell: quoted where it has to be. */
function cell(value) {
  const text = value == null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function searchesCsv(searches) {
  const lines = searches.map(row).map((found) => COLUMNS.map((name) => cell(found[name])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\n");
}

/** Have the browser save `content` as a file. */
export function saveFile(name, content, type) {
  const link = h("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Numbers as people read them. Units are always written.

/** Three significant digits, without exponents where it can be. */
export function short(value, digits = 3) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-4)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

/** Milliseconds with as many places as tell budgets apart: 0.398, 12.35, 148.2. */
export function ms(value) {
  if (value == null) return "–";
  const places = value < 1 ? 3 : value < 10 ? 3 : value < 100 ? 2 : 1;
  return value.toFixed(places);
}

/** " for 8 images", where a latency is for more than one. */
export const forImages = (batch) => (batch > 1 ? ` for ${batch} images` : "");

/** " under openvino": what every latency beside it is of. */
export const underRuntime = (runtime) => (runtime && runtime !== "not stated" ? ` under ${runtime}` : "");

export const percent = (value) => (value == null ? "–" : value.toFixed(2));
export const share = (fraction, digits = 2) => `${short(100 * fraction, digits)} %`;

/** 11842664 -> ["11.8", "M"]. */
export function scaled(value) {
  if (value == null) return ["–", ""];
  for (const [unit, factor] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (Math.abs(value) >= factor) return [short(value / factor), unit];
  return [short(value), ""];
}

export function bytes(value) {
  const [number, unit] = scaled(value);
  return [number, `${unit}B`];
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** "3 minutes ago". */
export function ago(iso, now = Date.now()) {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]])
    if (Math.abs(seconds) >= size) return RELATIVE.format(Math.round(seconds / size), unit);
  return "just now";
}

export function moment(iso) {
  return new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

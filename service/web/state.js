// The state of the views, kept in the address, so that a link reproduces what is shown.

export const MOST_DEVICES = 5;

const FILTERS = ["supernet", "device", "status", "latency_ms_max", "top1_min", "created_after", "created_before", "sort", "cursor"];

export function readState(search = location.search) {
  const query = new URLSearchParams(search);
  const budget = Number(query.get("budget"));
  const confidence = Number(query.get("confidence"));
  const filters = {};
  for (const name of FILTERS) {
    const value = query.get(`f.${name}`);
    if (value) filters[name] = value;
  }
  return {
    view: ["explore", "searches", "devices"].includes(query.get("view")) ? query.get("view") : "explore",
    supernet: query.get("supernet"),
    devices: [...new Set(query.get("devices")?.split(",").filter(Boolean) ?? [])].slice(0, MOST_DEVICES),
    focus: query.get("focus"),
    precision: query.get("precision") === "int8" ? "int8" : "fp32",
    confidence: confidence >= 0.5 && confidence < 1 ? confidence : null,
    budget: budget > 0 && Number.isFinite(budget) ? budget : null,
    search: query.get("search"),
    filters,
  };
}

export function writeState(state, { push = false } = {}) {
  const query = new URLSearchParams();
  if (state.view !== "explore") query.set("view", state.view);
  if (state.view === "explore") {
    if (state.supernet) query.set("supernet", state.supernet);
    if (state.devices.length) query.set("devices", state.devices.join(","));
    if (state.focus && state.focus !== state.devices[0]) query.set("focus", state.focus);
    if (state.precision !== "fp32") query.set("precision", state.precision);
    if (state.confidence) query.set("confidence", String(state.confidence));
    if (state.budget) query.set("budget", String(Number(state.budget.toPrecision(5))));
    if (state.search) query.set("search", state.search);
  } else if (state.view === "searches") {
    for (const [name, value] of Object.entries(state.filters)) if (value) query.set(`f.${name}`, value);
  }
  // Commas read better than %2C, and are allowed in a query.
  const text = query.toString().replaceAll("%2C", ",");
  const address = text ? `/?${text}` : "/";
  clearTimeout(resting); // an earlier change, which this one replaces
  if (address === location.pathname + location.search) return;
  // Browsers refuse hundreds of history changes in a few seconds: write once a drag pauses.
  if (push) history.pushState(null, "", address);
  else resting = setTimeout(() => history.replaceState(null, "", address), 120);
}
let resting;

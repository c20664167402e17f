// The state of the views, kept in the address, so that a link reproduces what is shown. Its names are
// those of the API; names of earlier versions are read, too.

export const MOST_DEVICES = 5;
export const MOST_COMPARED = 4;
export const VIEWS = ["explore", "searches", "devices", "supernets"];

/** Of GET /v1/searches, and `since`, which is so long ago: 1h, 7d. */
const FILTERS = ["supernet", "device", "status", "latency_ms_max", "top1_min", "since", "created_after", "created_before", "sort", "cursor"];
const listed = (text) => [...new Set(text?.split(",").filter(Boolean) ?? [])];

export function readState(search = location.search) {
  const query = new URLSearchParams(search);
  const first = (...names) => names.map((name) => query.get(name)).find((value) => value);
  const view = VIEWS.includes(query.get("view")) ? query.get("view") : "explore";
  const budget = Number(first("latency_ms", "budget"));
  const confidence = Number(first("latency_confidence", "confidence"));
  const filters = {};
  for (const name of view === "searches" ? FILTERS : []) {
    const value = first(name, `f.${name}`);
    if (value) filters[name] = value;
  }
  return {
    view,
    supernet: query.get("supernet"),
    devices: view === "explore" ? listed(first("device", "devices")).slice(0, MOST_DEVICES) : [],
    focus: query.get("focus"),
    precision: query.get("precision") === "int8" ? "int8" : "fp32",
    confidence: confidence >= 0.5 && confidence < 1 ? confidence : null,
    budget: budget > 0 && Number.isFinite(budget) ? budget : null,
    search: query.get("search"),
    filters,
    compared: view === "searches" ? listed(query.get("compare")).slice(0, MOST_COMPARED) : [],
    device: view === "devices" ? query.get("device") : null,
    shown: view === "supernets" ? query.get("supernet") : null,
  };
}

/** What of the state each view keeps in the address. */
const KEPT = {
  explore: (state) => ({
    supernet: state.supernet,
    device: state.devices.join(","),
    focus: state.focus === state.devices[0] ? null : state.focus,
    precision: state.precision === "fp32" ? null : state.precision,
    latency_confidence: state.confidence,
    latency_ms: state.budget && Number(state.budget.toPrecision(5)),
    search: state.search,
  }),
  searches: (state) => (state.compared.length ? { compare: state.compared.join(",") } : state.filters),
  devices: (state) => ({ device: state.device }),
  supernets: (state) => ({ supernet: state.shown }),
};

/** The address of a state. */
export function addressOf(state) {
  const query = new URLSearchParams();
  if (state.view !== "explore") query.set("view", state.view);
  for (const [name, value] of Object.entries(KEPT[state.view](state))) if (value) query.set(name, String(value));
  // Commas read better than %2C, and are allowed in a query.
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `/?${text}` : "/";
}

export function writeState(state, { push = false } = {}) {
  const address = addressOf(state);
  clearTimeout(resting); // an earlier change, which this one replaces
  if (address === location.pathname + location.search) return;
  // Browsers refuse hundreds of history changes in a few seconds: write once a drag pauses.
  if (push) history.pushState(null, "", address);
  else resting = setTimeout(() => history.replaceState(null, "", address), 120);
}
let resting;

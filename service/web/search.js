// One search: its progress, and the model that it delivers.

import { Problem, follow, get, post, request } from "./api.js";
import { announce, copyButton, h, show } from "./dom.js";
import { bytes, moment, ms, percent, scaled, share, short, underRuntime } from "./format.js";
import { FURTHER, askedInWords, quantity } from "./limits.js";
import { tryOnDevice } from "./links.js";
import { doubts, figure, latencyFigures, latencyTag, measuredTag, tag, top1Tag } from "./origin.js";
import { problem } from "./problems.js";
import { programs } from "./programs.js";
import { curl, python } from "./snippets.js";

const STEPS = { front: "Computing the device's front, once", search: "Searching", recalibrate: "Recalibrating batch norms", build: "Building the ONNX file", quantize: "Quantizing", verify: "Checking it against the supernet", store: "Storing" };

export class SearchCard {
  /** `onSearch(search)` is called when the search has been read, and again at its end. */
  constructor(card, body, onSearch) {
    Object.assign(this, { card, body, onSearch });
  }

  close() {
    this.running?.abort();
    this.card.hidden = true;
    this.id = null;
  }

  /** Start a search and follow it. */
  async start(wanted) {
    const signal = this.#open(null);
    this.#progress("Starting", null);
    await this.#guard(signal, async () => {
      const search = await (await post("/v1/searches", wanted)).json();
      if (!signal.aborted) await this.#follow(search, signal);
    });
  }

  /** Show a stored search. */
  async show(id) {
    if (id === this.id) return;
    const signal = this.#open(id);
    this.#progress("Loading", null);
    await this.#guard(signal, async () => this.#follow(await get(`/v1/searches/${id}`, { signal }), signal));
  }

  #open(id) {
    this.running?.abort();
    this.running = new AbortController();
    this.id = id;
    this.card.hidden = false;
    return this.running.signal;
  }

  async #guard(signal, work) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      show(this.body, problem(error instanceof Problem ? error.document : { detail: String(error) }));
      announce(`Search refused: ${error.message}`);
    }
  }

  async #follow(search, signal) {
    this.id = search.id;
    this.onSearch(search);
    if (!finished(search)) {
      this.#progress("Waiting for a worker", null, search);
      await follow(
        `/v1/searches/${search.id}/events`,
        (kind, data) => {
          if (kind === "queued") this.#progress("Waiting for a worker", null, search);
          if (kind === "running") this.#progress("Starting", 0, search);
          if (kind === "progress") this.#progress(STEPS[data.step] ?? data.step, data.share, search);
        },
        signal,
      );
      search = await get(`/v1/searches/${search.id}`, { signal });
    }
    if (signal.aborted) return;
    this.#finished(search);
    this.onSearch(search);
  }

  #progress(text, part, search) {
    const bar = h("progress", { max: 1, "aria-label": "Progress of the search", ...(part != null && { value: part }) });
    if (this.bar?.isConnected && part != null) {
      this.bar.value = part;
      this.label.textContent = text;
      return;
    }
    this.bar = bar;
    this.label = h("span", { class: "step" }, text);
    const cancel = search && h("button", { type: "button", class: "quiet small", onclick: () => this.#cancel(search.id) }, "Cancel");
    show(this.body, h("div", { class: "progress" }, this.label, bar, cancel));
    announce(text);
  }

  async #cancel(id) {
    try {
      await request(`/v1/searches/${id}`, { method: "DELETE" });
    } catch (error) {
      announce(error.message); // it has ended already
    }
  }

  #finished(search) {
    announce(`Search ${search.status}`);
    if (search.status === "failed") return show(this.body, problem(search.error));
    if (search.status === "cancelled") return show(this.body, h("p", { class: "empty" }, "This search was cancelled."));
    show(this.body, result(search));
  }
}

export const finished = (search) => ["succeeded", "failed", "cancelled"].includes(search.status);
export const deviceName = (search) => (typeof search.request.device === "string" ? search.request.device : (search.request.device?.name ?? "inline profile"));

function result(search) {
  const { result: found, request: wanted } = search;
  const { verified, provenance } = found;
  return h(
    "div",
    { class: "result" },
    h("p", { class: "on" }, h("span", { class: "badge succeeded" }, "succeeded"), ` ${wanted.supernet} on `, h("b", {}, deviceName(search)), `${underRuntime(found.runtime)}, ${askedInWords(wanted)}, ${wanted.precision ?? "fp32"}, seed ${wanted.seed}. ${moment(search.finished_at)}`),
    search.current === false ? h("p", { class: "notice" }, "The device's latency table has changed since this search; search again for its present one.") : null,
    doubts(provenance.latency_ms),
    (found.warnings ?? []).map((warning) => h("p", { class: "notice" }, warning)),
    verified.stepped_down?.length
      ? h("p", { class: "notice" }, `${verified.stepped_down.length} network${verified.stepped_down.length > 1 ? "s" : ""} predicted to meet the budget missed it when timed on this host; a faster one was delivered.`)
      : null,
    h(
      "dl",
      { class: "figures headline" },
      verified.top1
        ? figure("Top-1, measured", percent(verified.top1.value), "%", tag("measured", `± ${short(verified.top1.expected_error, 2)} pt`, `on ${verified.top1.images} held-out images, ${verified.top1.conditions.runtime}`), { large: true })
        : null,
      figure("Top-1, predicted", percent(found.top1), "%", top1Tag(provenance.top1), { large: true }),
      verified.latency_ms
        ? latencyFigures("Latency, measured", verified.latency_ms.value, verified.latency_ms.batch ?? 1, measuredTag(verified.latency_ms), "measured")
        : null,
      latencyFigures("Latency, predicted", found.latency_ms, found.batch, latencyTag(provenance.latency_ms, found.latency_ms)),
    ),
    h(
      "dl",
      { class: "figures" },
      FURTHER.filter(({ name }) => found[name] != null).map((limit) => figure(limit.label, ...quantity(limit, found[limit.name]), tag(limit.in_file ? "exact" : limit.origin))),
      yearly(found.footprint),
      verified.parity ? figure("Logits against torch", short(verified.parity.max_difference, 2), "", tag("measured", `${verified.parity.images} images`, `allowed ${short(verified.parity.allowed, 2)}, ${verified.parity.against}`)) : null,
      figure("Networks tried", ...scaled(found.search.evaluations), tag("exact", `in ${short(found.search.seconds, 2)} s`)),
    ),
    providers(found.file),
    tryOnDevice(search),
    download(search),
    snippet("curl", curl(search), () => withProfile(search)),
    snippet("Python", python(search)),
    programs(`${location.origin}/v1/searches/${search.id}/model.onnx`, found).map(([language, text]) => snippet(language, text)),
  );
}

/** Which of a phone's accelerators takes how much of the file's graph, in one line. */
function providers(file) {
  if (!file?.providers.length)
    return null;
  const { batch, providers: found } = file;
  const fixed = batch === "dynamic" ? "any batch" : `a batch of ${batch}`;
  const taken = found.some(({ nodes_taken }) => nodes_taken > 0)
    ? found.map(({ provider, nodes, nodes_taken, partitions }) => `${provider} ${share(nodes_taken / nodes)} of the nodes in ${partitions} part${partitions === 1 ? "" : "s"}`).join(", ")
    : `NNAPI and CoreML take no node of it${batch === "dynamic" ? ", since its batch is not fixed" : ""}`;
  return h("p", { class: "hint", id: "providers" }, `For ${fixed}, estimated: ${taken}.`);
}

function yearly(found) {
  if (found?.energy_kwh_per_year == null)
    return null;
  const images = `${found.inferences_per_day.toLocaleString("en")} images a day`;
  const co2e = found.co2e_kg_per_year == null ? "" : `, ${short(found.co2e_kg_per_year)} kg CO2e`;
  return figure("A year", `${short(found.energy_kwh_per_year)} kWh${co2e}`, "", tag("estimated", images, found.method));
}

function download(search) {
  const { sha256, model_bytes } = search.result;
  const state = h("span", { class: "step", role: "status" });
  const button = h("button", { type: "button", class: "primary", id: "download" }, `Download ONNX, ${bytes(model_bytes).join(" ")}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await save(search, state);
    } catch (error) {
      show(state, problem(error instanceof Problem ? error.document : { detail: String(error) }));
    }
    button.disabled = false;
  });
  return h("div", { class: "download" }, button, h("span", { class: "sha" }, h("span", {}, "sha256 "), h("code", {}, sha256)), copyButton(() => sha256, "Copy sha256"), state);
}

/** Fetch the model with the key, if there is one, and compare its sha256 before saving it. */
async function save(search, state) {
  state.textContent = "Downloading";
  const response = await request(`/v1/searches/${search.id}/model.onnx`);
  const content = await response.arrayBuffer();
  if (crypto.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== search.result.sha256) throw new Problem({ title: "Damaged", detail: `The downloaded file has the sha256 ${found.slice(0, 12)}, not the one stated: download it again.` });
    state.textContent = "Downloaded; its sha256 is the one stated.";
  } else state.textContent = "Downloaded; compare its sha256.";
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "model.onnx";
  const link = h("a", { href: URL.createObjectURL(new Blob([content])), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A text to copy; `whole()` may give a longer one once it is opened, or null. */
function snippet(name, text, whole = async () => null) {
  const code = h("code", {}, text);
  const details = h("details", { class: "snippet" }, h("summary", {}, name), h("div", { class: "code" }, copyButton(() => code.textContent), h("pre", { tabindex: "0", "aria-label": `${name} snippet` }, code)));
  details.addEventListener("toggle", async () => (code.textContent = (await whole().catch(() => null)) ?? text), { once: true });
  return details;
}

/** The curl of a search whose device came with the request or has another table now: with its profile. */
async function withProfile(search) {
  const name = encodeURIComponent(deviceName(search));
  const known = await get(`/v1/devices/${name}`).catch(() => ({ tables: [] }));
  if (known.tables.some(({ sha256 }) => sha256 === search.request.device_sha256)) return null;
  try {
    return curl(search, await get(`/v1/searches/${search.id}/table`));
  } catch (error) {
    if (error.document?.status !== 403) throw error;
    return `# The device is private to whoever asked: the search is repeated with their key alone.\n${curl(search)}`;
  }
}

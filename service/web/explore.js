// Fronts of devices, a budget, the network it buys, and the search for it.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { showChosen } from "./chosen.js";
import { $, announce, h, s, show } from "./dom.js";
import { Energy } from "./energy.js";
import { within } from "./front.js";
import { ms, percent, scaled, share } from "./format.js";
import { tag } from "./origin.js";
import { Prices } from "./prices.js";
import { layerTable, picture, scaleOf } from "./picture.js";
import { SearchCard, deviceName, problem } from "./search.js";
import { MOST_DEVICES } from "./state.js";

const DASHES = [null, "7 4", "2 3", "10 3 2 3", "5 2"];

export class Explore {
  /** `changed()` after the state has changed. `catalog`: {supernets, devices}. */
  constructor(state, changed) {
    Object.assign(this, { state, changed });
    this.fronts = new Map(); // by #key -> {status, ...}
    this.supernets = new Map();
    this.chart = new Chart($("#chart"), (budget) => this.setBudget(budget));
    this.energy = new Energy($("#energy-card"), $("#energy"), $("#energy-devices"));
    this.searchCard = new SearchCard($("#search-card"), $("#search-body"), (search) => this.#searched(search));
    $("#supernet").addEventListener("change", (event) => this.#choose(event.target.value));
    $("#precision").addEventListener("change", (event) => this.#ask({ precision: event.target.value }));
    $("#confidence").addEventListener("change", ({ target }) => target.reportValidity() && this.#ask({ confidence: target.value === "" ? null : Number((Number(target.value) / 100).toPrecision(6)) }));
    $("#budget").addEventListener("input", (event) => Number(event.target.value) > 0 && this.setBudget(Number(event.target.value), event.target));
    $("#slider").addEventListener("input", (event) => this.setBudget(Number(event.target.value), event.target));
    new ResizeObserver(() => this.#showPicture()).observe($("#picture-card"));
  }

  // -- what is looked at ---------------------------------------------------------------

  /** Make the state hold with what there is, and show it. */
  async open(catalog) {
    this.catalog = catalog;
    const { state } = this;
    const usable = (name) => this.#devicesOf(name).length > 0;
    const known = catalog.supernets.find((n) => n.name === state.supernet);
    const best = known ?? catalog.supernets.find((n) => n.searchable && usable(n.name)) ?? catalog.supernets[0];
    if (!best) return show($("#chart"), h("p", { class: "empty" }, "There is no supernet yet. Import or train one with the subnet-search command."));
    state.supernet = best.name;
    const names = this.#devicesOf(best.name).map((d) => d.name);
    state.devices = state.devices.filter((name) => names.includes(name));
    if (!state.devices.length && names.length) state.devices = [names[0]];
    if (!state.devices.includes(state.focus)) state.focus = state.devices[0] ?? null;
    await this.refresh();
  }

  #devicesOf(supernet) {
    const space = this.catalog.supernets.find((n) => n.name === supernet)?.space;
    return this.catalog.devices.filter((device) => device.spaces.includes(space));
  }

  #choose(supernet) {
    Object.assign(this.state, { supernet, devices: this.state.devices, budget: null, search: null });
    this.searchCard.close();
    this.open(this.catalog);
  }

  /** A device's table has changed: its fronts are asked for again. */
  forget(device) {
    for (const key of this.fronts.keys()) if (key.split(" ")[1] === device) this.fronts.delete(key);
  }

  async refresh() {
    const { state } = this;
    this.#controls();
    const { supernet } = state;
    this.energy.show(supernet);
    const loading = [this.#loadSupernet(supernet), ...state.devices.map((device) => this.#loadFront(supernet, device))];
    this.#render();
    for (const part of loading) part.then(() => state.supernet === supernet && this.#render());
    if (state.search) this.searchCard.show(state.search);
    else this.searchCard.close();
    await Promise.all(loading);
  }

  async #loadSupernet(name) {
    if (!this.supernets.has(name)) this.supernets.set(name, await get(`/v1/supernets/${encodeURIComponent(name)}`).catch(() => null));
  }

  #key(supernet, device) {
    return [supernet, device, this.state.precision, this.state.confidence].join(" ");
  }

  /** Other curves: of another precision, or of another bound. */
  #ask(patch) {
    Object.assign(this.state, patch);
    this.delivered = null;
    this.#again();
  }

  /** Why there is no curve at this precision, if the device's tables say so. */
  #lacks(device) {
    const { space } = this.catalog.supernets.find((n) => n.name === this.state.supernet);
    const known = this.catalog.devices.find((d) => d.name === device).precisions[space];
    const int8 = known.includes("int8");
    if (this.state.precision === "int8" ? int8 : known.some((precision) => precision !== "int8")) return null;
    const { precision } = this.state;
    return {
      title: `No ${precision} table`,
      detail: `${device} has no latency table at ${precision} for space ${space}, so it has no ${precision} curve and no ${precision} search. Measure one (subnet-search devices measure, or a kit, with --precision ${precision}) and add it under Devices.`,
    };
  }

  async #loadFront(supernet, device) {
    const key = this.#key(supernet, device);
    const lack = this.#lacks(device);
    if (lack) return void (this.failed = { ...this.failed, [key]: lack });
    if (this.fronts.has(key)) return this.fronts.get(key).loaded;
    const entry = { status: "loading" };
    this.fronts.set(key, entry);
    const { precision, confidence } = this.state;
    const query = new URLSearchParams({ layers: true, ...(precision === "int8" && { precision }), ...(confidence && { latency_confidence: confidence }) });
    const path = `/v1/supernets/${encodeURIComponent(supernet)}/devices/${encodeURIComponent(device)}/front?${query}`;
    entry.loaded = get(path).then(
      (front) => {
        for (const point of front.points) point.limited_ms = confidence ? point.latency_upper_ms : point.latency_ms;
        front.provenance.latency_ms.upper_bound = front.provenance.latency_upper_ms;
        const failed = { ...this.failed };
        delete failed[key];
        Object.assign(this, { failed });
        Object.assign(entry, { status: "ready", ...front, device, precision, confidence, scale: scaleOf(front.layers.known) });
      },
      (error) => {
        Object.assign(entry, { status: "failed", document: error.document ?? { detail: String(error) } });
        this.fronts.delete(key); // asked for again next time
        this.failed = { ...this.failed, [key]: entry.document };
      },
    );
    return entry.loaded;
  }

  #front(device) {
    return this.fronts.get(this.#key(this.state.supernet, device));
  }

  get ready() {
    return this.state.devices
      .map((device, i) => ({ ...this.#front(device), device, hue: i + 1, dash: DASHES[i] }))
      .filter((front) => front.status === "ready" && front.points.length);
  }

  // -- controls ------------------------------------------------------------------------

  #controls() {
    const { state, catalog } = this;
    $("#precision").value = state.precision;
    $("#confidence").value = state.confidence == null ? "" : Number((100 * state.confidence).toPrecision(6));
    $("#shaded").textContent = state.confidence == null ? "Shaded: expected error." : "Shaded: from the prediction to the bound.";
    show(
      $("#supernet"),
      catalog.supernets.map((n) => h("option", { value: n.name, selected: n.name === state.supernet }, n.name + (n.searchable ? "" : " (no accuracy predictor)"))),
    );
    const chips = state.devices.map((name, i) =>
      h(
        "span",
        { class: `chip${name === state.focus ? " focus" : ""}` },
        h("button", { type: "button", "aria-pressed": String(name === state.focus), onclick: () => this.#focus(name) }, swatch(i), name),
        state.devices.length > 1 ? h("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, onclick: () => this.#remove(name) }, "×") : null,
      ),
    );
    const usable = this.#devicesOf(state.supernet).map((d) => d.name);
    const more = usable.filter((name) => !state.devices.includes(name));
    const others = catalog.devices.filter((d) => !usable.includes(d.name));
    const full = state.devices.length >= MOST_DEVICES;
    const add = h(
      "select",
      { class: "add", "aria-label": "Add a device", disabled: full || !(more.length + others.length), onchange: (event) => this.#add(event.target.value) },
      h("option", { value: "" }, full ? `${MOST_DEVICES} at most` : "+ Add device"),
      more.map((name) => h("option", { value: name }, name)),
      others.length ? h("optgroup", { label: "No table for this supernet" }, others.map((d) => h("option", { disabled: true }, d.name))) : null,
    );
    show($("#chips"), chips, add);
    $("#devices-count").textContent = usable.length ? `${state.devices.length} of ${usable.length}` : "";
  }

  #add(name) {
    if (!name) return;
    this.state.devices = [...this.state.devices, name];
    this.state.focus = name;
    this.#again();
  }

  #remove(name) {
    this.state.devices = this.state.devices.filter((other) => other !== name);
    if (this.state.focus === name) this.state.focus = this.state.devices[0];
    this.#again();
    $("#chips button")?.focus();
  }

  #focus(name) {
    this.state.focus = name;
    this.#again();
    [...$("#chips").querySelectorAll("button[aria-pressed=true]")][0]?.focus();
  }

  #again() {
    this.changed();
    this.refresh();
  }

  // -- what is shown -------------------------------------------------------------------

  #render() {
    const { state } = this;
    const { supernet } = state;
    this.#facts();
    const failed = state.devices.map((d) => this.failed?.[this.#key(supernet, d)]).filter(Boolean);
    const waiting = state.devices.filter((d) => this.#front(d)?.status === "loading");
    const ready = this.ready;
    this.chart.fronts = ready;
    const focus = ready.find((front) => front.device === state.focus) ?? ready[0];
    $("#budget-row").hidden = !focus;
    $("#chosen").classList.toggle("waiting", !focus);
    if (!focus) {
      $("#picture-card").hidden = true;
      show($("#compare"));
      const reason = failed[0] ? problem(failed[0]) : null;
      const none = h("p", { class: "empty" }, "No device has a latency table for this supernet's space. Add one under Devices.");
      show($("#chart"), reason ?? (waiting.length ? loadingFront(waiting) : none));
      return show($("#chosen-body"), h("p", { class: "empty" }, waiting.length ? "Waiting for the first curve." : "Nothing to choose from."));
    }
    const [low, high] = [focus.points[0].limited_ms, focus.points.at(-1).limited_ms];
    // The first view: a budget in the middle of what there is.
    state.budget ??= Number((low + 0.4 * (high - low)).toPrecision(3));
    const slider = $("#slider");
    Object.assign(slider, { min: low, max: high, step: (high - low) / 400 });
    this.chart.update(ready, focus.device, state.budget, state.confidence);
    this.notes = [...failed.map(problem), waiting.length ? loadingFront(waiting) : null];
    this.#apply(state.budget);
    if (!performance.getEntriesByName("usable").length) performance.mark("usable");
  }

  #facts() {
    const summary = this.catalog.supernets.find((n) => n.name === this.state.supernet);
    const details = this.supernets.get(this.state.supernet);
    const [count, unit] = [Number(summary.architectures).toExponential(1).split("e+"), ""];
    const parts = [`${count[0]} × 10`, h("sup", {}, count[1]), ` networks in space ${summary.space}`, unit];
    const classes = details?.space && `, ${details.space.classes} classes, ${details.space.resolutions.at(0)}–${details.space.resolutions.at(-1)} px`;
    const licence = details?.card?.licence && details.card.licence !== "none" ? `, ${details.card.licence}` : "";
    show($("#supernet-facts"), parts, classes, licence);
  }

  /** Somebody drags, types or clicks. */
  setBudget(budget, from = null) {
    const started = performance.now();
    this.delivered = null;
    this.#apply(budget, from);
    this.changed();
    performance.measure("budget", { start: started });
  }

  /** Everything that depends on the budget, at once, from what is loaded. */
  #apply(budget, from = null) {
    const { state } = this;
    const focus = this.ready.find((front) => front.device === state.focus) ?? this.ready[0];
    if (!focus) return;
    state.budget = budget;
    this.chart.move(budget);
    this.point = showChosen($("#chosen-body"), focus, budget, (other) => this.setBudget(other));
    this.shown = focus;
    if (this.point) $("#chosen-body").append(this.#searchForm(focus.device));
    this.#compare();
    if (from !== $("#budget")) $("#budget").value = ms(budget);
    const slider = $("#slider");
    if (from !== slider) slider.value = budget;
    slider.setAttribute("aria-valuetext", this.point ? `${ms(budget)} milliseconds buy ${percent(this.point.top1)} percent` : `${ms(budget)} milliseconds, no network is that fast`);
    this.#showPicture();
  }

  #compare() {
    const rows = this.ready.length > 1 ? this.ready.map((front) => this.#row(front)) : [];
    const heads = ["Device", "Table", "Top-1, %", "Latency, ms", "MACs"];
    const table =
      rows.length &&
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Devices at this budget" }, h("table", {}, h("caption", {}, `Within ${ms(this.state.budget)} ms, predicted`), h("thead", {}, h("tr", {}, heads.map((n, i) => h("th", { scope: "col", class: i > 1 ? "n" : null }, n)))), h("tbody", {}, rows)));
    show($("#compare"), table || null, this.notes);
  }

  #row(front) {
    const point = front.points[within(front.points, this.state.budget)];
    const i = this.state.devices.indexOf(front.device);
    const batch = front.provenance.latency_ms?.conditions?.batch ?? 1;
    const name = h("th", { scope: "row" }, swatch(i), front.device, batch > 1 ? h("small", {}, ` batch ${batch}`) : null);
    const origin = front.provenance.latency_ms.table_origin;
    const table = h("td", {}, tag(origin));
    if (!point) return h("tr", {}, name, table, h("td", { colspan: 3, class: "n" }, `floor ${ms(front.points[0].limited_ms)} ms`));
    return h("tr", { class: front.device === this.shown?.device ? "focus" : null }, name, table, [percent(point.top1), ms(point.latency_ms), scaled(point.macs).join(" ")].map((text) => h("td", { class: "n" }, text)));
  }

  #showPicture() {
    const space = this.supernets.get(this.state.supernet)?.space;
    const front = this.shown;
    const delivered = this.delivered?.request.supernet === this.state.supernet && front && deviceName(this.delivered) === front.device ? this.delivered.result : null;
    if (!space || !front || !(this.point || delivered)) return void ($("#picture-card").hidden = true);
    const layers = delivered?.layers ?? front.layers.points[front.points.indexOf(this.point)].map((i) => front.layers.known[i]);
    const overhead_ms = front.network_overhead_ms;
    $("#picture-card").hidden = false;
    $("#picture-title").textContent = delivered ? "The delivered architecture and where its time goes" : "Architecture and where its time goes";
    const { arch } = delivered ?? this.point;
    $("#picture-facts").textContent = `${arch.resolution} px input, ${layers.length} layers. Heights are channels, widths kernels; dotted blocks are left out. Bars: predicted ms.`;
    const drawing = picture(layers, overhead_ms, space, front.scale, $("#picture-card").clientWidth - 42);
    const frame = $("#picture .scroll") ?? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Architecture, scrolls sideways" });
    show(frame, drawing);
    if (!frame.isConnected) {
      const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Layers" });
      this.layerDetails = h("details", {}, h("summary", {}, "Every layer as a table"), table);
      this.layerDetails.addEventListener("toggle", () => this.#fillTable());
      const prices = h("div", { class: "prices" });
      this.prices = new Prices(prices);
      show($("#picture"), legend(), frame, prices, this.layerDetails);
    }
    this.prices.ask(this.state.supernet, front.device, front.provenance.latency_ms.conditions.precision, arch);
    this.tableOf = { layers, overhead_ms };
    this.#fillTable();
  }

  #fillTable() {
    if (this.layerDetails?.open) show(this.layerDetails.lastChild, layerTable(this.tableOf.layers, this.tableOf.overhead_ms));
  }

  // -- searching -----------------------------------------------------------------------

  #searchForm(device) {
    if (!this.form) {
      const field = (name, label, attributes = {}) => h("label", {}, label, h("input", { name, type: "number", min: 0, step: "any", inputmode: "decimal", ...attributes }));
      this.form = h(
        "form",
        { class: "search-form" },
        h("button", { class: "primary", id: "search-button" }),
        h(
          "details",
          {},
          h("summary", {}, "More limits, seed"),
          h(
            "div",
            { class: "more" },
            field("macs", "MACs, millions, at most"),
            field("params", "Parameters, millions, at most"),
            field("model_bytes", "ONNX file, MB, at most"),
            field("peak_memory_bytes", "Peak memory, MB, at most"),
            field("energy_mj", "Energy, mJ, at most"),
            field("seed", "Seed", { step: 1, value: 0 }),
          ),
        ),
        h("p", { class: "hint" }, "The curve is quick to read; the search looks again at this budget, then builds and checks the model."),
      );
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.#search();
      });
    }
    const { confidence, precision } = this.state;
    this.form.querySelector("#search-button").textContent = `Search within ${ms(this.state.budget)} ms${confidence ? ` for ${share(confidence, 4)}` : ""} and build the ${precision === "int8" ? "int8 " : ""}ONNX`;
    return this.form;
  }

  #search() {
    const { state } = this;
    const given = new FormData(this.form);
    const constraints = { latency_ms: state.budget, ...(state.confidence && { latency_confidence: state.confidence }) };
    for (const [name, unit] of [["macs", 1e6], ["params", 1e6], ["model_bytes", 1e6], ["peak_memory_bytes", 1e6], ["energy_mj", 1]])
      if (Number(given.get(name)) > 0) constraints[name] = Number(given.get(name)) * unit;
    const wanted = { supernet: state.supernet, device: this.shown.device, constraints, precision: state.precision, seed: Number(given.get("seed")) || 0 };
    this.searchCard.start(wanted);
    $("#search-card").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  #searched(search) {
    const { state } = this;
    const first = state.search !== search.id;
    state.search = search.id;
    const [supernet, device] = [search.request.supernet, deviceName(search)];
    const asked = { precision: search.request.precision, confidence: search.request.constraints.latency_confidence ?? null };
    // Once: whoever chooses others while it runs keeps them.
    const other = this.synced !== search.id && (state.precision !== asked.precision || state.confidence !== asked.confidence);
    this.synced = search.id;
    const here = this.catalog.supernets.some((n) => n.name === supernet) && this.catalog.devices.some((d) => d.name === device);
    if (here && (other || state.supernet !== supernet || !state.devices.includes(device))) {
      Object.assign(state, { supernet, devices: [device], focus: device, budget: search.request.constraints.latency_ms ?? null }, asked);
      this.open(this.catalog).then(() => this.#deliver(search));
    } else this.#deliver(search);
    if (first) this.changed({ push: true });
    if (search.status !== "queued" && search.status !== "running") announce(`Search ${search.status}`);
  }

  #deliver(search) {
    if (search.status !== "succeeded") return;
    this.delivered = search;
    this.#showPicture();
  }
}

function swatch(i) {
  return s("svg", { class: "swatch", width: 20, height: 8, viewBox: "0 0 20 8", "aria-hidden": "true" }, s("line", { x1: 1, x2: 19, y1: 4, y2: 4, stroke: `var(--hue-${i + 1})`, "stroke-dasharray": DASHES[i] }));
}

function loadingFront(devices) {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `Computing the curve of ${devices.join(", ")}. The first time takes seconds; then it is kept.`);
}

function legend() {
  const item = (name, text) => h("span", { class: `key ${name}` }, h("i", {}), text);
  return h("p", { class: "legend" }, item("k3", "3×3"), item("k5", "5×5"), item("k7", "7×7"), item("se", "squeeze-and-excitation"), item("skip", "shortcut"), item("left-out", "left out"));
}

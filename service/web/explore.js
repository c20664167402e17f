// The Explore view: fronts of devices, a budget, the best network within it, and a search for it.

import { can, notSearchable, whyNot } from "./abilities.js";
import { get } from "./api.js";
import { Chart } from "./chart.js";
import { showChosen } from "./chosen.js";
import { $, announce, h, s, show } from "./dom.js";
import { Energy } from "./energy.js";
import { within } from "./front.js";
import { Fronts, lineOf } from "./fronts.js";
import { forImages, ms, percent, scaled, underRuntime } from "./format.js";
import { NetworkCard } from "./network.js";
import { tag } from "./origin.js";
import { Published, legend } from "./published.js";
import { problem } from "./problems.js";
import { SearchCard, deviceName } from "./search.js";
import { SearchForm } from "./search_form.js";
import { MOST_DEVICES } from "./state.js";
import { scroller } from "./tables.js";
import { Trainings } from "./trainings.js";

/** "12.35", or "12.35 (1.544 an image)" for a batch. */
const latency = (value, batch) => (batch > 1 ? `${ms(value)} (${ms(value / batch)} an image)` : ms(value));

export class Explore {
  /** `changed()` is called after each change of the state. */
  constructor(state, changed) {
    Object.assign(this, { state, changed });
    this.fronts = new Fronts(state);
    this.published = new Published();
    this.supernets = new Map();
    this.chart = new Chart($("#chart"), (budget) => this.setBudget(budget));
    this.energy = new Energy($("#energy-card"), $("#energy"), $("#energy-devices"));
    this.trainings = new Trainings($("#trainings-card"), $("#trainings"));
    this.network = new NetworkCard();
    this.form = new SearchForm((asked) => this.#search(asked));
    this.searchCard = new SearchCard($("#search-card"), $("#search-body"), (search) => this.#searched(search));
    $("#supernet").addEventListener("change", (event) => this.#choose(event.target.value));
    $("#precision").addEventListener("change", (event) => this.#ask({ precision: event.target.value }));
    $("#confidence").addEventListener("change", ({ target }) => target.reportValidity() && this.#ask({ confidence: target.value === "" ? null : Number((Number(target.value) / 100).toPrecision(6)) }));
    $("#budget").addEventListener("input", (event) => Number(event.target.value) > 0 && this.setBudget(Number(event.target.value), event.target));
    $("#slider").addEventListener("input", (event) => this.setBudget(Number(event.target.value), event.target));
  }

  // -- state ---------------------------------------------------------------------------

  /** Replace what the state names but `catalog` ({supernets, devices}) lacks, and show the view. */
  async open(catalog) {
    this.catalog = this.fronts.catalog = catalog;
    this.trainings.open();
    const { state } = this;
    const usable = (name) => this.#devicesOf(name).length > 0;
    const known = catalog.supernets.find((n) => n.name === state.supernet);
    const best = known ?? catalog.supernets.find((n) => can(n, "search") && usable(n.name)) ?? catalog.supernets[0];
    if (!best) return show($("#chart"), h("p", { class: "empty" }, "There is no supernet yet. Import or train one with the subnet-search command."));
    state.supernet = best.name;
    const names = this.#devicesOf(best.name).map((d) => d.name);
    state.devices = state.devices.filter((name) => names.includes(name));
    if (!state.devices.length && names.length) state.devices = [names[0]];
    if (!state.devices.includes(state.focus)) state.focus = state.devices[0] ?? null;
    await this.refresh();
  }

  /** The chosen supernet as the catalogue lists it. */
  get #supernet() {
    return this.catalog.supernets.find((n) => n.name === this.state.supernet);
  }

  /** The devices that a supernet can be searched on. */
  #devicesOf(name) {
    const supernet = this.catalog.supernets.find((n) => n.name === name);
    return supernet && can(supernet, "search") ? this.catalog.devices.filter((device) => device.spaces.includes(supernet.space)) : [];
  }

  /** What runs the networks of a device's table for this supernet. */
  #runtimeOf(device) {
    const known = device?.runtimes?.[this.#supernet?.space] ?? {};
    return known[this.state.precision] ?? Object.values(known)[0];
  }

  #hasTable(device, precision) {
    const known = device.precisions[this.#supernet.space] ?? [];
    return precision === "int8" ? known.includes("int8") : known.some((other) => other !== "int8");
  }

  #choose(supernet) {
    Object.assign(this.state, { supernet, devices: this.state.devices, budget: null, search: null });
    this.searchCard.close();
    this.open(this.catalog);
  }

  /** A device's table has changed. */
  forget(device) {
    this.fronts.forget(device);
    this.published.forget(device);
    this.network.forget();
  }

  async refresh() {
    const { state } = this;
    this.#controls();
    const { supernet } = state;
    this.energy.show(supernet);
    const loading = [this.#loadSupernet(supernet), ...state.devices.flatMap((device) => [this.fronts.load(supernet, device), this.published.load(device)])];
    this.#render();
    for (const part of loading) part.then(() => state.supernet === supernet && this.#render());
    if (state.search) this.searchCard.show(state.search);
    else this.searchCard.close();
    await Promise.all(loading);
  }

  async #loadSupernet(name) {
    if (!this.supernets.has(name)) this.supernets.set(name, await get(`/v1/supernets/${encodeURIComponent(name)}`).catch(() => null));
  }

  /** Load the curves of another precision or confidence. */
  #ask(patch) {
    Object.assign(this.state, patch);
    this.delivered = null;
    this.#again();
  }

  // -- controls ------------------------------------------------------------------------

  #controls() {
    const { state, catalog } = this;
    $("#precision").value = state.precision;
    $("#confidence").value = state.confidence == null ? "" : Number((100 * state.confidence).toPrecision(6));
    $("#shaded").textContent = state.confidence == null ? "Shaded: expected error." : "Shaded: from the prediction to the bound.";
    show(
      $("#supernet"),
      catalog.supernets.map((n) => h("option", { value: n.name, selected: n.name === state.supernet, disabled: !can(n, "search") }, n.name)),
    );
    const chips = state.devices.map((name, i) =>
      h(
        "span",
        { class: `chip${name === state.focus ? " focus" : ""}` },
        h("button", { type: "button", "aria-pressed": String(name === state.focus), onclick: () => this.#focus(name) }, swatch(i), name, h("small", {}, underRuntime(this.#runtimeOf(catalog.devices.find((d) => d.name === name))))),
        state.devices.length > 1 ? h("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, onclick: () => this.#remove(name) }, "×") : null,
      ),
    );
    const tables = this.#devicesOf(state.supernet);
    for (const option of $("#precision").options) {
      option.disabled = !tables.some((d) => this.#hasTable(d, option.value));
      option.textContent = option.value + (option.disabled && tables.length ? " (no table)" : "");
    }
    const usable = tables.map((d) => d.name);
    const more = tables.filter((d) => !state.devices.includes(d.name));
    const lacking = more.filter((d) => !this.#hasTable(d, state.precision));
    const others = catalog.devices.filter((d) => !usable.includes(d.name));
    const full = state.devices.length >= MOST_DEVICES;
    const add = h(
      "select",
      { class: "add", "aria-label": "Add a device", disabled: full || !(more.length + others.length), onchange: (event) => this.#add(event.target.value) },
      h("option", { value: "" }, full ? `${MOST_DEVICES} at most` : "+ Add device"),
      more.filter((d) => !lacking.includes(d)).map((d) => h("option", { value: d.name }, d.name + underRuntime(this.#runtimeOf(d)))),
      notOffered(`No ${state.precision} table`, lacking),
      notOffered(usable.length ? "No table for this supernet" : "Nothing to search here", others),
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

  // -- rendering -----------------------------------------------------------------------

  #render() {
    const { state } = this;
    this.#facts();
    const failed = state.devices.map((d) => this.fronts.failureOf(d)).filter(Boolean);
    const waiting = state.devices.filter((d) => this.fronts.of(d)?.status === "loading");
    const { ready } = this.fronts;
    if (!ready.length) this.chart.fronts = [];
    const focus = ready.find((front) => front.device === state.focus) ?? ready[0];
    $("#budget-row").hidden = !focus;
    $("#chosen").classList.toggle("waiting", !focus);
    if (!focus) {
      this.network.hide();
      show($("#compare"));
      show($("#published"));
      this.#offer(null);
      const reason = failed[0] ? problem(failed[0]) : null;
      const measure = h("code", {}, `subnet-search devices measure NAME --supernet ${state.supernet}`);
      const none = h("p", { class: "empty" }, can(this.#supernet, "search") ? ["No device has a latency table for this supernet's space. Add one under Devices, or measure the service's machine: ", measure] : whyNot(this.#supernet, "search"));
      show($("#chart"), reason ?? (waiting.length ? loadingFront(waiting) : none));
      return show($("#chosen-body"), h("p", { class: "empty" }, waiting.length ? "Waiting for the first curve." : "Nothing to choose from."));
    }
    const [low, high] = [focus.points[0].limited_ms, focus.points.at(-1).limited_ms];
    // At first, a budget in the middle of the front.
    state.budget ??= Number((low + 0.4 * (high - low)).toPrecision(3));
    const slider = $("#slider");
    Object.assign(slider, { min: low, max: high, step: (high - low) / 400 });
    const drawn = ready.map((front) => ({ ...front, published: this.published.beside(front, state.supernet) }));
    show($("#published"), legend(drawn));
    this.chart.update(drawn, focus.device, state.budget, state.confidence);
    this.notes = [...failed.map(problem), waiting.length ? loadingFront(waiting) : null];
    this.#apply(state.budget);
    if (!performance.getEntriesByName("usable").length) performance.mark("usable");
  }

  #facts() {
    const summary = this.#supernet;
    const details = this.supernets.get(this.state.supernet);
    const [count, unit] = [Number(summary.architectures).toExponential(1).split("e+"), ""];
    const parts = [`${count[0]} × 10`, h("sup", {}, count[1]), ` networks in space ${summary.space}`, unit];
    const classes = details?.space && `, ${details.space.classes} classes, ${details.space.resolutions.at(0)}–${details.space.resolutions.at(-1)} px`;
    const licence = details?.card?.licence && details.card.licence !== "none" ? `, ${details.card.licence}` : "";
    show($("#supernet-facts"), parts, classes, licence);
    show($("#supernet-lacks"), notSearchable(this.catalog.supernets));
  }

  /** The user has set the budget, in the control `from`. */
  setBudget(budget, from = null) {
    const started = performance.now();
    this.delivered = null;
    this.#apply(budget, from);
    this.changed();
    performance.measure("budget", { start: started });
  }

  /** Show everything that depends on the budget, from loaded fronts, without a request. */
  #apply(budget, from = null) {
    const { state } = this;
    const focus = this.fronts.ready.find((front) => front.device === state.focus) ?? this.fronts.ready[0];
    if (!focus) return;
    state.budget = budget;
    this.chart.move(budget);
    this.point = showChosen($("#chosen-body"), focus, budget, (other) => this.setBudget(other));
    this.shown = focus;
    this.#offer(this.point && this.form.update(state, this.#supernet));
    this.#compare();
    if (from !== $("#budget")) $("#budget").value = ms(budget);
    const slider = $("#slider");
    if (from !== slider) slider.value = budget;
    slider.setAttribute("aria-valuetext", this.point ? `${ms(budget)} milliseconds: ${percent(this.point.top1)} percent` : `${ms(budget)} milliseconds, no network is that fast`);
    this.#showNetwork();
  }

  /** Show the form of a search, or none. A form that is there stays, with a click or typing under way in it. */
  #offer(form) {
    const place = $("#chosen-form");
    if (place.firstChild !== form) show(place, form);
  }

  #compare() {
    const rows = this.fronts.ready.length > 1 ? this.fronts.ready.map((front) => this.#row(front)) : [];
    const heads = ["Device", "Table", "Top-1, %", "Latency, ms", "MACs"];
    const table =
      rows.length &&
      scroller("Devices at this budget", h("table", {}, h("caption", {}, `Within ${ms(this.state.budget)} ms, predicted`), h("thead", {}, h("tr", {}, heads.map((n, i) => h("th", { scope: "col", class: i > 1 ? "n" : null }, n)))), h("tbody", {}, rows)));
    show($("#compare"), table || null, this.notes);
  }

  #row(front) {
    const point = front.points[within(front.points, this.state.budget)];
    const i = this.state.devices.indexOf(front.device);
    const name = h("th", { scope: "row" }, swatch(i), front.device, h("small", {}, underRuntime(front.runtime), forImages(front.batch)));
    const origin = front.provenance.latency_ms.table_origin;
    const table = h("td", {}, tag(origin));
    if (!point) return h("tr", {}, name, table, h("td", { colspan: 3, class: "n" }, `floor ${ms(front.points[0].limited_ms)} ms`));
    return h("tr", { class: front.device === this.shown?.device ? "focus" : null }, name, table, [percent(point.top1), latency(point.latency_ms, front.batch), scaled(point.macs).join(" ")].map((text) => h("td", { class: "n" }, text)));
  }

  /** The delivered network of a search, else the one that the budget buys. */
  #showNetwork() {
    const { supernet } = this.state;
    const front = this.shown;
    const search = this.delivered;
    if (front && search?.request.supernet === supernet && deviceName(search) === front.device) this.network.show(supernet, front, { ...search.result, id: search.id });
    else if (front && this.point) {
      const layers = front.layers.points[front.points.indexOf(this.point)].map((i) => front.layers.known[i]);
      this.network.show(supernet, front, { arch: this.point.arch, layers });
    } else this.network.hide();
  }

  // -- searching -----------------------------------------------------------------------

  #search({ constraints, target, frozen, effort, seed, fixed }) {
    const { supernet, budget, confidence, precision } = this.state;
    // A target is reached in the least time, so the budget that happens to be set is no limit of it.
    const limits = { ...(!target && { latency_ms: budget }), ...constraints };
    if (confidence && limits.latency_ms != null) limits.latency_confidence = confidence;
    this.searchCard.start({ supernet, device: this.shown.device, constraints: limits, target, frozen, effort, precision, seed, ...(fixed && { batch: this.shown.batch }) });
    $("#search-card").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  #searched(search) {
    const { state } = this;
    const first = state.search !== search.id;
    state.search = search.id;
    const [supernet, device] = [search.request.supernet, deviceName(search)];
    const asked = { precision: search.request.precision, confidence: search.request.constraints.latency_confidence ?? null };
    // Only once, so that a choice made while the search runs is kept.
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
    this.#showNetwork();
  }
}

/** Devices that cannot be chosen, under the reason. */
function notOffered(label, devices) {
  return devices.length ? h("optgroup", { label }, devices.map((d) => h("option", { disabled: true }, d.name))) : null;
}

function swatch(i) {
  const { hue, dash } = lineOf(i);
  return s("svg", { class: "swatch", width: 20, height: 8, viewBox: "0 0 20 8", "aria-hidden": "true" }, s("line", { x1: 1, x2: 19, y1: 4, y2: 4, stroke: `var(--hue-${hue})`, "stroke-dasharray": dash }));
}

function loadingFront(devices) {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `Computing the curve of ${devices.join(", ")}. The first time takes a few seconds; later it comes from the cache.`);
}

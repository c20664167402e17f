// The Searches view: stored searches, filtered, sorted and paged; the address holds all settings.

import { get } from "./api.js";
import { showComparison } from "./comparison.js";
import { saveFile, searchesCsv } from "./csv.js";
import { $, announce, h, show } from "./dom.js";
import { ago, bytes, forImages, moment, ms, percent, underRuntime } from "./format.js";
import { askedInWords } from "./limits.js";
import { problem } from "./problems.js";
import { deviceName } from "./search.js";
import { MOST_COMPARED } from "./state.js";
import { rowsTable } from "./tables.js";

const STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"];
const SINCE = { "": "Any time", "1h": "The last hour", "24h": "The last 24 hours", "7d": "The last 7 days", "30d": "The last 30 days" };
const SECONDS = { h: 3600, d: 86400 };
const PAGE = 25;
const MOST_IN_CSV = 2000;

/** The query of GET /v1/searches for these filters: `since` becomes a moment. */
function asked({ since, ...filters }) {
  const [, count, unit] = /^(\d+)([hd])$/.exec(since ?? "") ?? [];
  const after = unit && new Date(Date.now() - 1000 * count * SECONDS[unit]).toISOString();
  return new URLSearchParams({ ...filters, ...(after && { created_after: after }) });
}

/** A moment as an input shows it: in UTC, to the second. */
function inUtc(text) {
  const at = new Date(text ?? "");
  return Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(0, 19);
}

export class Searches {
  constructor(state, changed, openSearch) {
    Object.assign(this, { state, changed, openSearch });
    this.before = []; // cursors of the pages before this one
    this.seen = new Set(); // names of devices, also of those that came with a request
    this.chosen = new Set(); // ids of searches to compare
  }

  async open(catalog) {
    this.catalog = catalog;
    const section = $("#searches");
    if (!section.firstChild) this.#frame(section);
    this.#options();
    this.#fill(this.state.filters);
    await this.#load();
  }

  #frame(section) {
    const field = (name, label, input) => h("div", { class: "field" }, h("label", { for: `f-${name}` }, label), input);
    const number = (name) => h("input", { id: `f-${name}`, name, type: "number", min: 0, step: "any", inputmode: "decimal" });
    const time = (name) => h("input", { id: `f-${name}`, name, type: "datetime-local", step: 1 });
    this.form = h(
      "form",
      { class: "controls", role: "search", "aria-label": "Filter searches" },
      field("supernet", "Supernet", h("select", { id: "f-supernet", name: "supernet" })),
      field("device", "Device", h("select", { id: "f-device", name: "device" })),
      field("status", "Status", h("select", { id: "f-status", name: "status" }, h("option", { value: "" }, "Any"), STATUSES.map((status) => h("option", {}, status)))),
      field("latency_ms_max", "Latency, ms, at most", number("latency_ms_max")),
      field("top1_min", "Top-1, %, at least", number("top1_min")),
      field("since", "Asked within", h("select", { id: "f-since", name: "since" }, Object.entries(SINCE).map(([value, text]) => h("option", { value }, text)))),
      field("created_after", "Asked since, UTC", time("created_after")),
      field("created_before", "Asked before, UTC", time("created_before")),
      h("button", { type: "button", class: "quiet", id: "clear", onclick: () => this.#filter({}) }, "Clear"),
    );
    this.form.addEventListener("submit", (event) => event.preventDefault());
    // Change this filter only: a link may hold what an input cannot show, such as a fraction.
    this.form.addEventListener("change", ({ target }) => {
      const { cursor, [target.name]: _, ...filters } = this.state.filters;
      if (target.name === "since") delete filters.created_after;
      if (target.name === "created_after") delete filters.since;
      const value = target.type === "datetime-local" && target.value ? `${target.value}Z` : target.value;
      this.#filter(value ? { ...filters, [target.name]: value } : filters);
    });
    this.count = h("span", {});
    // On a phone the filters would fill the screen.
    this.filters = h("details", { class: "filters", open: !matchMedia("(max-width: 40em)").matches }, h("summary", {}, "Filters ", this.count), this.form);
    this.body = h("div", {});
    this.list = h("div", { class: "list" }, this.filters, this.body);
    this.beside = h("div", {});
    show(section, h("header", { class: "view" }, h("h1", { id: "searches-title" }, "Searches"), h("p", { class: "hint" }, "Every search that you may see. The address of this page is a link to this view.")), this.list, this.beside);
  }

  #options() {
    const { filters } = this.state;
    const here = this.catalog.devices.map((d) => d.name);
    const others = [...new Set([...this.seen, filters.device])].filter((name) => name && !here.includes(name)).sort();
    const fill = (name, ...options) => {
      const input = this.form.elements[name];
      show(input, h("option", { value: "" }, "Any"), options);
      input.value = filters[name] ?? "";
    };
    const named = (names) => names.map((n) => h("option", {}, n));
    const supernets = this.catalog.supernets.map((n) => n.name);
    fill("supernet", named(supernets.includes(filters.supernet ?? supernets[0]) ? supernets : [...supernets, filters.supernet]));
    fill("device", named(here), others.length ? h("optgroup", { label: "Came with a request, or removed" }, named(others)) : null);
  }

  #fill(filters) {
    for (const input of this.form.elements) if (input.name) input.value = input.type === "datetime-local" ? inUtc(filters[input.name]) : (filters[input.name] ?? "");
    const count = Object.keys(filters).filter((name) => name !== "sort" && name !== "cursor").length;
    this.count.textContent = count ? `(${count} set)` : "";
  }

  #filter(filters) {
    this.state.filters = filters;
    this.before = [];
    this.#fill(filters);
    this.#again();
  }

  #again() {
    this.changed({ push: true });
    this.#load();
  }

  async #load() {
    const { filters, compared } = this.state;
    this.list.hidden = compared.length > 0;
    this.beside.hidden = !compared.length;
    if (compared.length) return showComparison(this.beside, compared, () => this.#compare([]));
    const query = asked({ ...filters, limit: PAGE });
    const wanted = (this.wanted = query.toString());
    this.body.classList.add("waiting");
    try {
      const page = await get(`/v1/searches?${query}`);
      if (wanted === this.wanted) this.#show(page);
    } catch (error) {
      if (wanted === this.wanted) show(this.body, problem(error.document ?? { detail: String(error) }));
    }
    this.body.classList.remove("waiting");
  }

  #show(page) {
    const { filters } = this.state;
    const filtered = Object.keys(filters).some((name) => name !== "sort" && name !== "cursor");
    if (!page.items.length && !filters.cursor) {
      const text = filtered ? "No search matches these filters." : "No search yet. Choose a budget under Explore and search.";
      return show(this.body, h("p", { class: "empty card" }, text));
    }
    for (const search of page.items) this.seen.add(deviceName(search));
    this.#options();
    const heads = [this.#head("created_at", "Asked"), "Supernet", "Device", "Limits", "Status", this.#head("top1", "Top-1, %, predicted", "n"), { title: "Top-1, %, measured", kind: "n" }, this.#head("latency_ms", "Latency, ms, predicted", "n"), { title: "File", kind: "n" }, "Compare"];
    const table = rowsTable("Stored searches", heads, page.items.map((search) => this.#row(search)), { wide: true });
    const back = h("button", { type: "button", class: "quiet", disabled: !filters.cursor, onclick: () => this.#page(this.before.pop() ?? null) }, "Previous");
    const next = h("button", { type: "button", class: "quiet", disabled: !page.next_cursor, onclick: () => (this.before.push(filters.cursor ?? null), this.#page(page.next_cursor)) }, "Next");
    const csv = h("button", { type: "button", class: "quiet", id: "csv", onclick: () => this.#csv(csv) }, "Download as CSV");
    this.compare = h("button", { type: "button", class: "quiet", id: "compare-chosen", onclick: () => this.#compare([...this.chosen]) });
    this.#mark();
    show(this.body, h("div", { class: "card flush" }, table), h("nav", { class: "pager", "aria-label": "Pages" }, csv, this.compare, back, next));
    announce(`${page.items.length} searches`);
  }

  #mark() {
    const count = this.chosen.size;
    this.compare.disabled = count < 2;
    this.compare.textContent = count < 2 ? `Compare: choose 2 to ${MOST_COMPARED}` : `Compare ${count} searches`;
    for (const box of this.body.querySelectorAll("input[name=compare]")) box.disabled = !box.checked && count >= MOST_COMPARED;
  }

  #compare(compared) {
    this.state.compared = compared;
    this.chosen.clear();
    this.#again();
  }

  /** All searches of these filters, page by page. */
  async #csv(button) {
    button.disabled = true;
    const { cursor: _, ...filters } = this.state.filters;
    const items = [];
    try {
      for (let cursor = null; items.length < MOST_IN_CSV; ) {
        const page = await get(`/v1/searches?${asked({ ...filters, limit: 200, ...(cursor && { cursor }) })}`);
        items.push(...page.items);
        cursor = page.next_cursor;
        if (!cursor) break;
        button.textContent = `${items.length} searches`;
      }
      saveFile("searches.csv", searchesCsv(items), "text/csv");
      announce(`${items.length} searches were written`);
    } catch (error) {
      this.body.prepend(problem(error.document ?? { detail: String(error) }));
    }
    button.textContent = "Download as CSV";
    button.disabled = false;
  }

  #page(cursor) {
    this.state.filters = { ...this.state.filters, cursor };
    if (!cursor) delete this.state.filters.cursor;
    this.#again();
  }

  #head(name, title, kind = null) {
    const sort = this.state.filters.sort ?? "-created_at";
    const order = sort === name ? "ascending" : sort === `-${name}` ? "descending" : null;
    const next = order === "descending" ? name : `-${name}`;
    const sorted = () => {
      const { cursor, ...filters } = this.state.filters;
      this.#filter({ ...filters, sort: next });
    };
    return { title, kind, sorted: order, content: h("button", { type: "button", class: "sort", onclick: sorted }, title, h("span", { "aria-hidden": "true" }, order ? (order === "ascending" ? " ↑" : " ↓") : "")) };
  }

  #row(search) {
    const when = moment(search.created_at);
    const open = h("a", { href: `/?search=${search.id}`, onclick: (event) => this.#open(event, search) }, h("time", { datetime: search.created_at, title: when }, ago(search.created_at)));
    const found = search.result;
    const choose = ({ target }) => {
      this.chosen[target.checked ? "add" : "delete"](search.id);
      this.#mark();
    };
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, open),
      h("td", {}, search.request.supernet),
      h("td", {}, deviceName(search), h("small", {}, underRuntime(found?.runtime))),
      h("td", {}, askedInWords(search.request), search.request.precision === "int8" ? ", int8" : ""),
      h("td", {}, h("span", { class: `badge ${search.status}`, title: search.error?.detail ?? null }, search.status), search.current === false ? h("small", { title: "the device's latency table has changed since" }, " older table") : null),
      h("td", { class: "n" }, percent(found?.top1)),
      h("td", { class: "n" }, percent(found?.verified.top1?.value)),
      h("td", { class: "n" }, ms(found?.latency_ms), found?.batch > 1 ? h("small", {}, forImages(found.batch)) : null),
      h("td", { class: "n" }, found ? bytes(found.model_bytes).join(" ") : "–"),
      h("td", {}, found ? h("input", { type: "checkbox", name: "compare", checked: this.chosen.has(search.id), "aria-label": `Compare the search of ${when}`, onchange: choose }) : "–"),
    );
  }

  #open(event, search) {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.openSearch(search);
  }
}

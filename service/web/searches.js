// The Searches view: stored searches, filtered, sorted and paged; the address holds all settings.

import { get } from "./api.js";
import { $, announce, h, show } from "./dom.js";
import { ago, bytes, forImages, moment, ms, percent, underRuntime } from "./format.js";
import { limits } from "./limits.js";
import { problem } from "./problems.js";
import { deviceName } from "./search.js";

const STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"];
const PAGE = 25;

export class Searches {
  constructor(state, changed, openSearch) {
    Object.assign(this, { state, changed, openSearch });
    this.before = []; // cursors of the pages before this one
  }

  async open(catalog) {
    const section = $("#searches");
    if (!section.firstChild) this.#frame(section);
    this.#options(catalog);
    await this.#load();
  }

  #frame(section) {
    const field = (name, label, input) => h("div", { class: "field" }, h("label", { for: `f-${name}` }, label), input);
    const number = (name) => h("input", { id: `f-${name}`, name, type: "number", min: 0, step: "any", inputmode: "decimal" });
    const day = (name) => h("input", { id: `f-${name}`, name, type: "date" });
    this.form = h(
      "form",
      { class: "controls", role: "search", "aria-label": "Filter searches" },
      field("supernet", "Supernet", h("select", { id: "f-supernet", name: "supernet" })),
      field("device", "Device", h("select", { id: "f-device", name: "device" })),
      field("status", "Status", h("select", { id: "f-status", name: "status" }, h("option", { value: "" }, "Any"), STATUSES.map((status) => h("option", {}, status)))),
      field("latency_ms_max", "Latency, ms, at most", number("latency_ms_max")),
      field("top1_min", "Top-1, %, at least", number("top1_min")),
      field("created_after", "Asked since, UTC", day("created_after")),
      field("created_before", "Asked before, UTC", day("created_before")),
      h("button", { type: "button", class: "quiet", id: "clear", onclick: () => this.#filter({}) }, "Clear"),
    );
    this.form.addEventListener("submit", (event) => event.preventDefault());
    // Change this filter only: a link may hold what an input cannot show, such as an hour.
    this.form.addEventListener("change", ({ target }) => {
      const { cursor, [target.name]: _, ...filters } = this.state.filters;
      this.#filter(target.value ? { ...filters, [target.name]: target.value } : filters);
    });
    this.body = h("div", {});
    show(section, h("header", { class: "view" }, h("h1", { id: "searches-title" }, "Searches"), h("p", { class: "hint" }, "Every search of this installation. The address of this page is a link to this view.")), this.form, this.body);
  }

  #options(catalog) {
    const fill = (name, names) => show(this.form.elements[name], h("option", { value: "" }, "Any"), names.map((n) => h("option", {}, n)));
    const { filters } = this.state;
    const known = (names, chosen) => (chosen && !names.includes(chosen) ? [...names, chosen] : names);
    fill("supernet", known(catalog.supernets.map((n) => n.name), filters.supernet));
    fill("device", known(catalog.devices.map((d) => d.name), filters.device));
    this.#fill(filters);
  }

  #fill(filters) {
    for (const input of this.form.elements) if (input.name) input.value = (filters[input.name] ?? "").slice(0, input.type === "date" ? 10 : undefined);
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
    const { filters } = this.state;
    const query = new URLSearchParams({ ...filters, limit: PAGE });
    const asked = (this.asked = query.toString());
    this.body.classList.add("waiting");
    try {
      const page = await get(`/v1/searches?${query}`);
      if (asked === this.asked) this.#show(page);
    } catch (error) {
      if (asked === this.asked) show(this.body, problem(error.document ?? { detail: String(error) }));
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
    const table = h(
      "table",
      {},
      h("thead", {}, h("tr", {}, this.#head("created_at", "Asked"), h("th", { scope: "col" }, "Supernet"), h("th", { scope: "col" }, "Device"), h("th", { scope: "col" }, "Limits"), h("th", { scope: "col" }, "Status"), this.#head("top1", "Top-1, %, predicted", "n"), this.#head("latency_ms", "Latency, ms, predicted", "n"), h("th", { scope: "col", class: "n" }, "File"))),
      h("tbody", {}, page.items.map((search) => this.#row(search))),
    );
    const back = h("button", { type: "button", class: "quiet", disabled: !filters.cursor, onclick: () => this.#page(this.before.pop() ?? null) }, "Previous");
    const next = h("button", { type: "button", class: "quiet", disabled: !page.next_cursor, onclick: () => (this.before.push(filters.cursor ?? null), this.#page(page.next_cursor)) }, "Next");
    show(this.body, h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Stored searches" }, table)), h("nav", { class: "pager", "aria-label": "Pages" }, back, next));
    announce(`${page.items.length} searches`);
  }

  #page(cursor) {
    this.state.filters = { ...this.state.filters, cursor };
    if (!cursor) delete this.state.filters.cursor;
    this.#again();
  }

  #head(name, label, kind = null) {
    const sort = this.state.filters.sort ?? "-created_at";
    const order = sort === name ? "ascending" : sort === `-${name}` ? "descending" : null;
    const next = order === "descending" ? name : `-${name}`;
    const sorted = () => {
      const { cursor, ...filters } = this.state.filters;
      this.#filter({ ...filters, sort: next });
    };
    return h("th", { scope: "col", class: kind, "aria-sort": order }, h("button", { type: "button", class: "sort", onclick: sorted }, label, h("span", { "aria-hidden": "true" }, order ? (order === "ascending" ? " ↑" : " ↓") : "")));
  }

  #row(search) {
    const open = h("a", { href: `/?search=${search.id}`, onclick: (event) => this.#open(event, search) }, h("time", { datetime: search.created_at, title: moment(search.created_at) }, ago(search.created_at)));
    const found = search.result;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, open),
      h("td", {}, search.request.supernet),
      h("td", {}, deviceName(search), h("small", {}, underRuntime(found?.runtime))),
      h("td", {}, limits(search.request.constraints), search.request.precision === "int8" ? ", int8" : ""),
      h("td", {}, h("span", { class: `badge ${search.status}`, title: search.error?.detail ?? null }, search.status), search.current === false ? h("small", { title: "the device's latency table has changed since" }, " older table") : null),
      h("td", { class: "n" }, percent(found?.top1)),
      h("td", { class: "n" }, ms(found?.latency_ms), found?.batch > 1 ? h("small", {}, forImages(found.batch)) : null),
      h("td", { class: "n" }, found ? bytes(found.model_bytes).join(" ") : "–"),
    );
  }

  #open(event, search) {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.openSearch(search);
  }
}

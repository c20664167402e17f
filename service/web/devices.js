// The Devices view: latency tables with their findings, and adding a device from a file.

import { Problem, get, post } from "./api.js";
import { $, announce, h, show } from "./dom.js";
import { share } from "./format.js";
import { LinkView, lacksRuntime, linkForm } from "./links.js";
import { conditionsInWords, tag } from "./origin.js";
import { problem } from "./problems.js";

export class Devices {
  /** `added(name)` is called after a device was stored, `explore(name)` to open one under Explore. */
  constructor(added, explore) {
    Object.assign(this, { added, explore });
  }

  async open(catalog) {
    this.catalog = catalog;
    if (!$("#devices").firstChild) {
      this.#frame($("#devices"));
      this.#byLink();
    }
    await this.#list();
  }

  #frame(section) {
    const input = h("input", { type: "file", id: "device-file", accept: ".json,application/json", multiple: true, class: "unseen" });
    input.addEventListener("change", async () => {
      await this.#take(input.files);
      input.value = "";
    });
    const zone = h(
      "div",
      { class: "drop", id: "drop" },
      h("p", {}, h("b", {}, "Drop a device file here"), " or ", h("label", { class: "link", for: "device-file" }, "choose one"), "."),
      h("p", { class: "hint" }, "JSON with name, runtime, precision, batch, conditions, space and a table of layers in milliseconds, as the measuring kit writes it. It is checked before it is stored."),
      input,
    );
    for (const kind of ["dragenter", "dragover"])
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.add("over");
      });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      this.#take(event.dataTransfer.files);
    });
    this.results = h("div", { id: "upload-results", "aria-live": "polite" });
    this.link = h("details", { class: "card", id: "by-link" });
    this.body = h("div", {});
    show(section, h("header", { class: "view" }, h("h1", { id: "devices-title" }, "Devices"), h("p", { class: "hint" }, "Latency tables: the time of each layer, and where the times come from.")), this.link, zone, this.results, this.body);
  }

  #byLink() {
    const place = h("div", { class: "link-place" });
    const made = (link) => {
      const view = new LinkView(
        link,
        (ended) => ended.devices.forEach((name) => this.added(name)),
        (ended) => ended.devices.map((name) => h("button", { type: "button", class: "quiet", onclick: () => this.explore(name) }, `See ${ended.devices.length > 1 ? name : "it"} under Explore`)),
      );
      show(place, view.element);
    };
    show(this.link, h("summary", {}, "Measure a phone or another computer"), lacksRuntime() ?? [linkForm(this.catalog.supernets, made), place]);
  }

  async #take(files) {
    const found = [];
    for (const file of files) {
      show(this.results, found, h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `Checking ${file.name}`));
      found.push(await this.#upload(file));
      show(this.results, found);
    }
  }

  async #upload(file) {
    const outcome = (kind, title, ...content) => h("section", { class: `card outcome ${kind}` }, h("h2", {}, title), content);
    const text = await file.text();
    try {
      JSON.parse(text);
    } catch (error) {
      announce(`${file.name} is not JSON`);
      return outcome("bad", `${file.name} was refused`, problem({ title: "Not JSON", detail: `${error.message}. Expected the JSON file that the measuring kit or \`devices measure\` writes.` }));
    }
    try {
      const device = await (await post("/v1/devices", text)).json();
      await this.added(device.name);
      announce(`${device.name} was added`);
      const use = h("button", { type: "button", class: "quiet", onclick: () => this.explore(device.name) }, "See it under Explore");
      return outcome("good", `${device.name} was added`, findings(device), use);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      announce(`${file.name} was refused: ${error.message}`);
      const { document } = error;
      return outcome("bad", `${file.name} was refused`, problem(document));
    }
  }

  async #list() {
    const { devices } = this.catalog;
    if (!devices.length) return show(this.body, h("p", { class: "empty card" }, "No device yet."));
    const rows = new Map(devices.map((d) => [d.name, [h("tr", {}, h("th", { scope: "row" }, d.name), h("td", { colspan: 6, class: "hint" }, "Loading"))]]));
    const body = h("tbody", {}, [...rows.values()].flat());
    const names = ["Device", "Space", "Precision", "Table", "Conditions", "Layers", "Error on whole networks"];
    const table = h("table", {}, h("thead", {}, h("tr", {}, names.map((n, i) => h("th", { scope: "col", class: i > 4 ? "n" : null }, n)))), body);
    show(this.body, h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Devices" }, table)));
    await Promise.all(
      devices.map(async ({ name }) => {
        const device = await get(`/v1/devices/${encodeURIComponent(name)}`).catch((error) => ({ name, tables: [], failed: error.message }));
        const before = rows.get(name);
        const after = this.#rows(device);
        before[0].before(...after);
        before[0].remove();
      }),
    );
  }

  #rows(device) {
    if (!device.tables.length) return [h("tr", {}, h("th", { scope: "row" }, device.name), h("td", { colspan: 6 }, device.failed ?? "no table"))];
    const rows = device.tables.map((table, i) =>
      h(
        "tr",
        {},
        i === 0 ? h("th", { scope: "row", rowspan: device.tables.length }, h("a", { href: `/?devices=${encodeURIComponent(device.name)}`, onclick: (event) => (event.preventDefault(), this.explore(device.name)) }, device.name)) : null,
        h("td", {}, table.space),
        h("td", {}, table.precision),
        h("td", {}, tag(table.origin, "", table.source), table.revision ? h("small", {}, ` revision ${table.revision}`) : null),
        h("td", { class: "wide" }, conditionsInWords(table.conditions)),
        h("td", { class: "n" }, String(table.layers)),
        h("td", { class: "n" }, table.expected_error == null ? "not known" : `± ${share(table.expected_error)}`, table.drift_fraction == null ? null : h("small", {}, ` drift ${share(table.drift_fraction)} between ${table.sittings} sittings`)),
      ),
    );
    const count = device.lint?.length ?? 0;
    if (count) rows.push(h("tr", { class: "note" }, h("td", { colspan: 7 }, h("details", {}, h("summary", {}, `${count} finding${count > 1 ? "s" : ""} about ${device.name}`), findings(device)))));
    return rows;
  }
}

/** The findings of lint about a device's tables, errors before warnings. */
function findings(device) {
  const list = (severity) => {
    const found = (device.lint ?? []).filter((finding) => finding.severity === severity);
    return found.length ? h("ul", { class: `findings ${severity}` }, found.map((f) => h("li", {}, `${severity}, ${f.kind}: ${f.detail}`))) : null;
  };
  return [list("error"), list("warning")];
}

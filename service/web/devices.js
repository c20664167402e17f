// The Devices view: the list, and adding a device from a file or by a link.

import { Problem, post } from "./api.js";
import { findings, showDevice } from "./device.js";
import { $, announce, h, show } from "./dom.js";
import { LinkView, lacksRuntime, linkForm } from "./links.js";
import { problem } from "./problems.js";
import { rowsTable } from "./tables.js";

export class Devices {
  /** `go(patch)` changes the state, `added(name)` is called after a device was stored or removed,
   * `explore(name)` to open one under Explore. */
  constructor(state, go, added, explore) {
    Object.assign(this, { state, go, added, explore });
  }

  async open(catalog) {
    this.catalog = catalog;
    if (!$("#devices").firstChild) {
      this.#frame($("#devices"));
      this.#byLink();
    }
    const { device } = this.state;
    this.all.hidden = device != null;
    this.one.hidden = device == null;
    if (device == null) return this.#list();
    await showDevice(this.one, device, {
      explore: () => this.explore(device),
      back: () => this.go({ device: null }),
      removed: async () => {
        Object.assign(this.state, { device: null });
        this.go({});
        await this.added(device);
      },
      changed: () => this.added(device),
    });
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
      h("p", { class: "hint" }, "JSON with name, runtime, precision, batch, conditions, space and a table of layers in milliseconds, as the measuring kit writes it and `devices show --table` prints it. It is checked before it is stored."),
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
    this.all = h("div", { class: "list" }, this.link, zone, this.results, this.body);
    this.one = h("div", { class: "list" });
    show(section, h("header", { class: "view" }, h("h1", { id: "devices-title" }, "Devices"), h("p", { class: "hint" }, "Latency tables: the time of each layer, and where the times come from.")), this.all, this.one);
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

  /** From the catalogue alone: what each table holds is in the device's own view. */
  #list() {
    const { devices } = this.catalog;
    if (!devices.length) return show(this.body, h("p", { class: "empty card" }, "No device yet."));
    const open = (name) => (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.go({ device: name });
      scrollTo(0, 0);
    };
    const rows = devices.map(({ name, precisions, runtimes }) => {
      const spaces = Object.keys(precisions);
      const known = [...new Set(Object.values(runtimes).flatMap((by) => Object.values(by)))];
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, h("a", { href: `/?view=devices&device=${encodeURIComponent(name)}`, onclick: open(name) }, name)),
        h("td", {}, spaces.join(", ")),
        h("td", {}, [...new Set(Object.values(precisions).flat())].join(", ")),
        h("td", {}, known.map((runtime) => runtime ?? "not stated").join(", ")),
        h("td", { class: "n" }, String(Object.values(precisions).flat().length)),
      );
    });
    show(this.body, h("div", { class: "card flush" }, rowsTable("Devices", ["Device", "Spaces", "Precisions", "Runtime", { title: "Tables", kind: "n" }], rows)));
  }
}

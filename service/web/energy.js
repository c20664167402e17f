// The energy of networks for many devices: one supernet, compared with training each from scratch.

import { get } from "./api.js";
import { $, h, show } from "./dom.js";
import { short } from "./format.js";
import { tag } from "./origin.js";
import { scroller } from "./tables.js";

const NAMES = {
  training: "Training the supernet, once",
  predictor_data: "Data for its predictor, once",
  table: "A device: measuring its table",
  search_and_delivery: "A device: search and delivery",
};

export class Energy {
  constructor(card, body, input) {
    Object.assign(this, { card, body, input });
    input.addEventListener("change", () => input.reportValidity() && this.#ask());
  }

  /** Show the energies of a supernet; hidden where none are known. */
  show(supernet) {
    if (supernet === this.supernet) return;
    this.supernet = supernet;
    this.#ask();
  }

  async #ask() {
    const { supernet } = this;
    const devices = Number(this.input.value);
    try {
      const found = await get(`/v1/supernets/${encodeURIComponent(supernet)}/ledger?devices=${devices}`);
      if (supernet !== this.supernet || devices !== Number(this.input.value)) return;
      this.card.hidden = false;
      show(this.body, scroller("Energy, by what it is spent on", table(found)), totals(found), found.missing.map((line) => h("p", { class: "hint" }, `Not known: ${line}`)));
    } catch {
      if (supernet === this.supernet) this.card.hidden = true; // a card without energies
    }
  }
}

function table(found) {
  const entries = Object.entries({ ...found.once, ...found.per_device }).map(([name, entry]) => [NAMES[name] ?? name, entry]);
  if (found.alone) entries.push(["One network trained from scratch", found.alone]);
  if (found.alone_search) entries.push(["Searching for one by training every candidate", found.alone_search]);
  const row = ([name, entry]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "n" }, `${wh(entry.energy_kwh)} Wh `, tag(entry.provenance, "", entry.method)));
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, "Energy"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col", class: "n" }, "Energy"))),
    h("tbody", {}, entries.map(row)),
  );
}

function totals({ devices, total, break_even_devices, one_more_device }) {
  const of = (name) => `${wh(total[`${name}_kwh`])} Wh${total[`${name}_co2e_kg`] == null ? "" : `, ${short(1e3 * total[`${name}_co2e_kg`])} g CO₂e`}`;
  const less = one_more_device.times_less_than_training_and_searching;
  const lines = [
    `${devices} devices from this supernet: ${of("shared")}.`,
    total.alone_kwh == null ? null : `Training each from scratch, with a given architecture: ${of("alone")}.`,
    break_even_devices ? `Sharing pays from ${break_even_devices} devices on.` : null,
    less ? `One more device takes ${short(less, 2)} times less energy than searching for a network by training.` : null,
  ];
  return h("p", { id: "energy-total" }, lines.filter(Boolean).join(" "));
}

const wh = (kwh) => short(1e3 * kwh);

// The Supernets view: the list, and one with its card, its classes, its predictor and trainings.

import { can, whyNot } from "./abilities.js";
import { get } from "./api.js";
import { Plot } from "./curves.js";
import { $, h, show } from "./dom.js";
import { percent, short } from "./format.js";
import { figure, tag } from "./origin.js";
import { problem } from "./problems.js";
import { rowsTable } from "./tables.js";
import { Trainings } from "./trainings.js";

const ABILITIES = { search: "searched", deliver: "delivered from", verify: "verified against" };
const CARD = ["licence", "data", "metrics", "energy", "recipe", "source"];

export class Supernets {
  /** `go(patch)` changes the state. */
  constructor(state, go) {
    Object.assign(this, { state, go });
  }

  async open(catalog) {
    this.catalog = catalog;
    if (!$("#supernets").firstChild) this.#frame($("#supernets"));
    this.trainings.open();
    const { shown } = this.state;
    if (shown == null) return this.#list();
    await this.#one(shown);
  }

  #frame(section) {
    this.body = h("div", { class: "list" });
    const body = h("div", {});
    const card = h("section", { class: "card", "aria-label": "Trainings under way", hidden: true }, h("header", {}, h("h2", {}, "Trainings under way")), body);
    this.trainings = new Trainings(card, body);
    show(section, h("header", { class: "view" }, h("h1", { id: "supernets-title" }, "Supernets"), h("p", { class: "hint" }, "One set of weights for every network of a space, and the predictor of their accuracy.")), this.body, card);
  }

  #list() {
    const { supernets } = this.catalog;
    const open = (name) => (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.go({ shown: name });
      scrollTo(0, 0);
    };
    const rows = supernets.map((supernet) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, h("a", { href: `/?view=supernets&supernet=${encodeURIComponent(supernet.name)}`, onclick: open(supernet.name) }, supernet.name)),
        h("td", {}, supernet.space),
        h("td", { class: "n" }, count(supernet.architectures)),
        h("td", {}, abilities(supernet)),
      ),
    );
    show(this.body, h("div", { class: "card flush" }, rowsTable("Supernets", ["Supernet", "Space", { title: "Networks", kind: "n" }, "Can be"], rows)));
  }

  async #one(name) {
    const leave = h("button", { type: "button", class: "quiet small", onclick: () => this.go({ shown: null }) }, "All supernets");
    const path = `/v1/supernets/${encodeURIComponent(name)}`;
    show(this.body, h("p", { class: "actions" }, leave), h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `Reading ${name}`));
    let found;
    try {
      found = await get(path);
    } catch (error) {
      return show(this.body, h("p", { class: "actions" }, leave), problem(error.document ?? { detail: String(error) }));
    }
    const supernet = this.catalog.supernets.find((known) => known.name === name) ?? found;
    const explore = h("button", { type: "button", class: "quiet small", onclick: () => this.go({ view: "explore", supernet: name, devices: [], focus: null, budget: null, search: null }) }, "See it under Explore");
    const lacking = ["search", "deliver"].filter((what) => !can(supernet, what));
    const [unseen, samples] = ["unseen-networks", "sample-images"].map((name) => h("div", { class: name }));
    show(
      this.body,
      h("header", { class: "view" }, h("h2", { class: "name" }, name)),
      h("p", { class: "actions" }, leave, can(supernet, "search") ? explore : null),
      lacking.map((what) => h("p", { class: "notice" }, whyNot(supernet, what))),
      card("Space and predictor", facts(found), found.predictor ? unseen : null),
      classes(found, samples),
      card("Card", h("dl", { class: "pairs" }, CARD.filter((field) => found.card[field] != null).map((field) => [h("dt", {}, field), h("dd", {}, value(found.card[field]))]), h("dt", {}, "sha256 of the weights"), h("dd", {}, h("code", {}, found.sha256 || "no weights here")))),
    );
    if (found.predictor) predictorPlot(unseen, path);
    sampleImages(samples, path);
  }
}

const card = (title, ...content) => h("section", { class: "card" }, h("header", {}, h("h2", {}, title)), content);

/** 1.2e19 -> "1.2 × 10^19", in words that a screen reader reads. */
function count(architectures) {
  const [digits, power] = Number(architectures).toExponential(1).split("e+");
  return Number(power) < 6 ? Number(architectures).toLocaleString("en") : [`${digits} × 10`, h("sup", {}, power)];
}

const abilities = (supernet) => Object.keys(ABILITIES).filter((what) => can(supernet, what)).map((what) => ABILITIES[what]).join(", ") || "nothing yet";

function facts({ space, architectures, predictor }) {
  const judged = predictor?.found ?? predictor;
  return h(
    "dl",
    { class: "figures" },
    figure("Networks", count(architectures), "", tag("exact")),
    figure("Resolutions", space.resolutions ? `${space.resolutions.at(0)} to ${space.resolutions.at(-1)}` : "unknown", "px", null),
    figure("Classes", String(space.classes), "", null),
    predictor ? figure("Error of a predicted top-1", judged.rmse == null ? "unknown" : `± ${short(judged.rmse, 2)}`, "points", tag("measured", "", predictor.target)) : null,
    predictor?.count ? figure("Networks that it was fitted to", predictor.count.toLocaleString("en"), "", tag("measured")) : null,
  );
}

/** Predicted against measured accuracy of networks that the predictor was not fitted to. */
async function predictorPlot(place, path) {
  const { points, shift_points: shift } = await get(`${path}/predictor`).catch(() => ({ points: [] }));
  if (!points.length) return show(place, h("p", { class: "hint" }, "No measured network was kept out of the predictor's fit, so there is nothing to compare it with."));
  const plot = new Plot("Predicted against measured top-1, of networks not fitted to", "Measured, %", "predicted, %");
  const all = points.flatMap(({ measured, predicted }) => [measured, predicted]);
  const ends = [Math.min(...all), Math.max(...all)];
  const mean = points.reduce((sum, { measured, predicted }) => sum + Math.abs(predicted - measured), 0) / points.length;
  show(place, h("div", { class: "plots" }, plot.element), h("p", { class: "hint" }, `Measured on held-out training images${shift ? `, moved by ${percent(shift)} points to the test images` : ""}. On the line, both are equal.`));
  plot.draw(points.map(({ measured, predicted }) => [measured, predicted]), ends.map((end) => [end, end]), `${points.length} networks, ${percent(mean)} points off on average`);
}

function classes({ space, card: { data } }, samples) {
  const names = Array.isArray(data?.classes) ? data.classes : null;
  const all = names && h("details", {}, h("summary", {}, `All ${names.length} classes`), h("ol", { class: "classes", start: 0 }, names.map((name) => h("li", {}, name))));
  return card(`${space.classes} classes`, samples, all);
}

/** A few validation images of each class, as the bundle holds them. */
async function sampleImages(place, path) {
  const { items, why_none: why } = await get(`${path}/samples`).catch((error) => ({ items: [], why_none: error.message }));
  if (!items.length) return show(place, h("p", { class: "hint" }, `No images of them to show: ${why}.`));
  const one = ({ index, name, images }) => h("figure", {}, h("div", {}, images.map((source) => h("img", { src: source, alt: "", width: 48, height: 48 }))), h("figcaption", {}, name ?? `class ${index}`));
  show(place, h("div", { class: "samples" }, items.map(one)), h("p", { class: "hint" }, "Validation images, held out of training."));
}

/** A value of the card: plain text, what is in an object as pairs, or what is in a list of objects once it is opened. */
function value(found) {
  if (typeof found === "number" && !Number.isInteger(found)) return String(Number(found.toPrecision(5)));
  if (found == null || typeof found !== "object") return String(found);
  if (Array.isArray(found) && found.some((item) => item !== null && typeof item === "object" && !Array.isArray(item)))
    return h("details", {}, h("summary", {}, `${found.length} entries`), h("ol", {}, found.map((item) => h("li", {}, JSON.stringify(item)))));
  if (Array.isArray(found)) return found.length > 20 ? `${found.length} values` : found.map((item) => (typeof item === "object" ? JSON.stringify(item) : String(item))).join(", ");
  return h("dl", { class: "pairs" }, Object.entries(found).filter(([name]) => name !== "classes" && name !== "curve").map(([name, inner]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, value(inner))]));
}

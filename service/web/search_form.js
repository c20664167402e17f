// The form under the chosen network: further limits, a seed, and the button that starts a search.

import { h } from "./dom.js";
import { ms, share } from "./format.js";

const MILLION = 1e6;
/** Limits that the form offers: name, label, and how many of the limit's unit one of the field's is. */
const LIMITS = [
  ["macs", "MACs, millions, at most", MILLION],
  ["params", "Parameters, millions, at most", MILLION],
  ["model_bytes", "ONNX file, MB, at most", MILLION],
  ["peak_memory_bytes", "Peak memory, MB, at most", MILLION],
  ["energy_mj", "Energy, mJ, at most", 1],
];

export class SearchForm {
  /** `onSearch({constraints, seed})` when somebody asks for a search. */
  constructor(onSearch) {
    const field = (name, label, attributes = {}) => h("label", {}, label, h("input", { name, type: "number", min: 0, step: "any", inputmode: "decimal", ...attributes }));
    this.button = h("button", { class: "primary", id: "search-button" });
    this.element = h(
      "form",
      { class: "search-form" },
      this.button,
      h("details", {}, h("summary", {}, "More limits, seed"), h("div", { class: "more" }, LIMITS.map(([name, label]) => field(name, label)), field("seed", "Seed", { step: 1, value: 0 }))),
      h("p", { class: "hint" }, "The search looks again at this budget, then builds the model and checks it."),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      onSearch(this.#read());
    });
  }

  /** Say on the button what it searches for. */
  update({ budget, confidence, precision }) {
    this.button.textContent = `Search within ${ms(budget)} ms${confidence ? ` for ${share(confidence, 4)}` : ""} and build the ${precision === "int8" ? "int8 " : ""}ONNX`;
    return this.element;
  }

  #read() {
    const given = new FormData(this.element);
    const constraints = {};
    for (const [name, , factor] of LIMITS) if (Number(given.get(name)) > 0) constraints[name] = Number(given.get(name)) * factor;
    return { constraints, seed: Number(given.get("seed")) || 0 };
  }
}

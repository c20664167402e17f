// The form under the chosen network: further limits, a seed, and the button that starts a search.

import { can, whyNot } from "./abilities.js";
import { h, show } from "./dom.js";
import { ms, share } from "./format.js";
import { FURTHER } from "./limits.js";

const MILLION = 1e6;
/** Of a limit's field: "MACs, millions, at most", "Energy, mJ, at most". */
function label({ label, unit, in_millions }) {
  const written = in_millions ? (unit === "" ? "millions" : `M${unit}`) : unit;
  return [label, written, "at most"].filter(Boolean).join(", ");
}

export class SearchForm {
  /** `onSearch({constraints, seed, fixed})` when somebody asks for a search. */
  constructor(onSearch) {
    const field = (name, label, attributes = {}) => h("label", {}, label, h("input", { name, type: "number", min: 0, step: "any", inputmode: "decimal", ...attributes }));
    this.button = h("button", { class: "primary", id: "search-button" });
    this.hint = h("p", { class: "hint" });
    this.element = h(
      "form",
      { class: "search-form" },
      this.button,
      h("details", {}, h("summary", {}, "More limits, seed"), h("div", { class: "more" }, FURTHER.map((limit) => field(limit.name, label(limit))), field("seed", "Seed", { step: 1, value: 0 })), h("label", { class: "check" }, h("input", { name: "fixed", type: "checkbox" }), "Fix the file's batch to the device's, as runtimes on phones need it")),
      this.hint,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      onSearch(this.#read());
    });
  }

  /** Say on the button what it searches for; without what a model is built from, say what is missing. */
  update({ budget, confidence, precision }, supernet) {
    this.button.disabled = !can(supernet, "deliver");
    show(this.hint, this.button.disabled ? whyNot(supernet, "deliver") : "The search looks again at this budget, then builds the model and checks it.");
    this.button.textContent = `Search within ${ms(budget)} ms${confidence ? ` by the upper bound, nominal ${share(confidence, 4)},` : ""} and build the ${precision === "int8" ? "int8 " : ""}ONNX`;
    return this.element;
  }

  #read() {
    const given = new FormData(this.element);
    const constraints = {};
    for (const { name, in_millions } of FURTHER) if (Number(given.get(name)) > 0) constraints[name] = Number(given.get(name)) * (in_millions ? MILLION : 1);
    return { constraints, seed: Number(given.get("seed")) || 0, fixed: given.has("fixed") };
  }
}

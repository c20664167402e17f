// The form under the chosen network: further limits, effort, a seed, and the button that starts a search.

import { can, whyNot } from "./abilities.js";
import { h, show } from "./dom.js";
import { ms, share } from "./format.js";
import { FURTHER } from "./limits.js";

const MILLION = 1e6;
const EFFORTS = [["quick", "quick, about 0.1 s"], ["normal", "normal, about 0.5 s"], ["thorough", "thorough, about 3 s"]];
const HINT = "a number, 60% of the largest network, or a range: 20..25";
/** Of a limit's field: "MACs, millions, at most", "Energy, mJ, at most". */
function label({ label, unit, in_millions }) {
  const written = in_millions ? (unit === "" ? "millions" : `M${unit}`) : unit;
  return [label, written, "at most"].filter(Boolean).join(", ");
}

export class SearchForm {
  /** `onSearch({constraints, target, frozen, effort, seed, fixed})` when somebody asks for a search. */
  constructor(onSearch) {
    const field = (name, label, attributes = {}) => h("label", {}, label, h("input", { name, type: "number", min: 0, step: "any", inputmode: "decimal", ...attributes }));
    const text = (name, label, title) => h("label", {}, label, h("input", { name, type: "text", title, autocomplete: "off", spellcheck: "false" }));
    const latency = text("latency_ms", "Latency, ms, instead of the budget", HINT);
    const target = field("target", "Top-1 at least, %: the fastest", { max: 100, title: "Instead of the most accurate network the fastest of at least this predicted accuracy; the budget is left out" });
    const keep = text("keep", "Keep only", "choices of genes: kernel=3,5; stage2.depth=3; stage2.blocks=5x4,7x6");
    const effort = h("label", {}, "Effort", h("select", { name: "effort", title: "How many networks are evaluated: more of them find a better one more often" }, EFFORTS.map(([value, words]) => h("option", { value, selected: value === "normal" }, words))));
    this.button = h("button", { class: "primary", id: "search-button" });
    this.hint = h("p", { class: "hint" });
    this.element = h(
      "form",
      { class: "search-form" },
      this.button,
      h("details", {}, h("summary", {}, "More limits, effort, seed"), h("div", { class: "more" }, latency, target, keep, FURTHER.map((limit) => text(limit.name, label(limit), HINT)), effort, field("seed", "Seed", { step: 1, value: 0 })), h("label", { class: "check" }, h("input", { name: "fixed", type: "checkbox" }), "Fix the file's batch to the device's, as runtimes on phones need it")),
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
    const written = (name) => (given.get(name) ?? "").trim();
    const constraints = {};
    for (const { name, in_millions } of [{ name: "latency_ms" }, ...FURTHER]) if (written(name)) constraints[name] = limitValue(written(name), in_millions ? MILLION : 1);
    const target = written("target") && { top1: Number(written("target")) };
    const frozen = written("keep") && keptChoices(written("keep"));
    return { constraints, ...(target && { target }), ...(frozen && { frozen }), effort: given.get("effort"), seed: Number(given.get("seed")) || 0, fixed: given.has("fixed") };
  }
}

/** "0.4" -> 0.4, "60%" -> "60%", "20..25" -> {min: 20, max: 25}; what is none of these is for the service to refuse. */
function limitValue(text, unit) {
  const end = (part) => (part !== "" && Number.isFinite(Number(part)) ? Number(part) * unit : part);
  if (!text.includes("..")) return end(text);
  const [min, max] = text.split("..", 2).map((part) => end(part.trim()));
  return { ...(min !== "" && { min }), ...(max !== "" && { max }) };
}

/** "kernel=3,5; stage2.depth=3" -> {kernel: [3, 5], "stage2.depth": [3]}. */
function keptChoices(text) {
  const pairs = text.split(";").filter((part) => part.trim()).map((part) => part.split("=", 2).map((side) => side.trim()));
  const choice = (key) => (part) => (key.endsWith(".blocks") || !Number.isFinite(Number(part)) ? part.trim() : Number(part));
  return Object.fromEntries(pairs.map(([key, choices = ""]) => [key, choices.split(",").map(choice(key))]));
}

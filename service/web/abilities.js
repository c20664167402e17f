// What a supernet can be used for, and which commands add the rest.

import { h } from "./dom.js";

const LACKS = { search: "an accuracy predictor", deliver: "weights or calibration images" };

/** Whether a supernet of the catalogue can "search" or "deliver". */
export const can = (supernet, what) => supernet.capabilities[what];

/** Why it cannot, and the command that adds it. */
export function whyNot(supernet, what) {
  const verb = { search: "be searched", deliver: "deliver models" }[what];
  const step = supernet.next_steps.find(({ adds }) => adds.includes(what));
  return h("span", {}, `${supernet.name} cannot ${verb} yet: it lacks ${LACKS[what]}. `, "To add that: ", h("code", {}, step.command), step.needs ? ` (${step.needs})` : null);
}

/** A list of those that cannot be searched; null if all can. */
export function notSearchable(supernets) {
  const others = supernets.filter((n) => !can(n, "search"));
  if (!others.length) return null;
  const count = others.length > 1 ? `${others.length} supernets` : "1 supernet";
  return h("details", {}, h("summary", {}, `${count} cannot be searched yet`), h("ul", {}, others.map((n) => h("li", {}, whyNot(n, "search")))));
}

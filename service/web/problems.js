// What the service refused, and why, as a notice.

import { h } from "./dom.js";
import { limits } from "./limits.js";

/** A problem document (RFC 9457) as a notice. */
export function problem(document) {
  const nearest = Object.entries(document?.nearest ?? {});
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", {}, h("b", {}, document?.title && document.title !== "about:blank" ? `${document.title}. ` : ""), document?.detail ?? "The request failed without a stated reason."),
    nearest.length ? h("p", {}, `The nearest limits that can be met: ${limits(document.nearest)}.`) : null,
    document?.errors?.length ? h("ul", {}, document.errors.slice(0, 20).map((e) => h("li", {}, typeof e === "string" ? e : `${e.pointer ?? ""} ${e.detail ?? ""}`))) : null,
  );
}

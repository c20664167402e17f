// Tables: one whose rows become cards where there is no room, and regions that say that they scroll.

import { h } from "./dom.js";

/** A column: its title, how its cells stand, and what stands in the head instead of the title. */
const column = (head) => (typeof head === "string" ? { title: head } : head);

/** A table of `rows` of cells. Where it is narrow, each row is a card and each cell has its title.
 * `heads`: titles, or {title, kind, content, sorted}. */
export function rowsTable(label, heads, rows, { wide = false } = {}) {
  const columns = heads.map(column);
  for (const row of rows) {
    row.setAttribute("role", "row");
    let place = 0;
    for (const cell of row.children) {
      cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
      if (cell.colSpan === 1) cell.dataset.label = columns[place]?.title ?? "";
      place += cell.colSpan;
    }
  }
  const head = columns.map(({ title, kind, content, sorted }) => h("th", { scope: "col", role: "columnheader", class: kind, "aria-sort": sorted }, content ?? title));
  return h(
    "div",
    { class: `rows${wide ? " wide" : ""}` },
    h("table", { role: "table", "aria-label": label }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), h("tbody", { role: "rowgroup" }, rows)),
  );
}

const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => mark(target.closest(".scroll"))));

/** A region that scrolls sideways; its edge fades where there is more. */
export function scroller(label, ...content) {
  const region = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, content);
  const watch = () => [region, ...region.children].forEach((element) => sizes.observe(element));
  region.addEventListener("scroll", () => mark(region), { passive: true });
  new MutationObserver(watch).observe(region, { childList: true });
  watch();
  return region;
}

function mark(region) {
  if (!region) return;
  const { scrollLeft, scrollWidth, clientWidth } = region;
  region.dataset.more = [scrollLeft > 1 && "left", scrollWidth - clientWidth - scrollLeft > 1 && "right"].filter(Boolean).join(" ");
}

/** Numbers of several things side by side: `rows` of a title and a cell for each of `names`. */
export function sideBySide(label, names, rows) {
  const line = ([title, ...cells]) => h("tr", { class: cells.every((cell) => String(cell) === String(cells[0])) ? null : "differs" }, h("th", { scope: "row" }, title), cells.map((cell) => h("td", { class: "n" }, cell ?? "–")));
  return scroller(label, h("table", { class: "beside" }, h("thead", {}, h("tr", {}, h("td", {}), names.map((name) => h("th", { scope: "col", class: "n" }, name)))), h("tbody", {}, rows.map(line))));
}

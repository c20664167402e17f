// The card of one network: its picture, what single changes cost and bring, and every layer.

import { $, h, show } from "./dom.js";
import { ms, scaled, share } from "./format.js";
import { Picture } from "./picture.js";
import { Sensitivity } from "./sensitivity.js";
import { scroller } from "./tables.js";

export class NetworkCard {
  constructor() {
    this.card = $("#picture-card");
    const frame = scroller("Architecture, scrolls sideways");
    const changes = h("div", { class: "sensitivity" });
    this.table = scroller("Layers");
    this.details = h("details", {}, h("summary", {}, "Every layer as a table"), this.table);
    this.details.addEventListener("toggle", () => this.#fillTable());
    this.picture = new Picture(frame);
    this.sensitivity = new Sensitivity(changes);
    show($("#picture"), frame, changes, this.details);
  }

  hide() {
    this.card.hidden = true;
  }

  /** A network of `front`: {arch, layers}, and the `id` of the search that delivered it, if one has. */
  show(supernet, front, { arch, layers, id = null }) {
    this.card.hidden = false;
    $("#picture-title").textContent = id ? "The delivered architecture and where its time goes" : "Architecture and where its time goes";
    $("#picture-facts").textContent = `${arch.resolution} px input, ${layers.length} layers. Dashed: blocks that this network leaves out. Orange: each layer's share of the predicted latency.`;
    const { device } = front;
    const { precision } = front.provenance.latency_ms.conditions;
    const query = new URLSearchParams({ arch: JSON.stringify(arch), device, precision });
    this.picture.show(id ? `/v1/searches/${id}/architecture.svg` : `/v1/supernets/${encodeURIComponent(supernet)}/architecture.svg?${query}`);
    this.sensitivity.ask(supernet, device, precision, arch);
    Object.assign(this, { layers, overhead_ms: front.network_overhead_ms });
    this.#fillTable();
  }

  /** A device's latency table has changed. */
  forget() {
    this.picture.forget();
  }

  #fillTable() {
    if (this.details.open && this.layers) show(this.table, layerTable(this.layers, this.overhead_ms));
  }
}

function layerTable(layers, overhead_ms) {
  const total = layers.reduce((sum, l) => sum + (l.latency_ms ?? 0), overhead_ms);
  const row = (l) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, l.name),
      h("td", {}, l.kind),
      h("td", { class: "n" }, l.kernel > 1 || l.kind === "conv" ? `${l.kernel}×${l.kernel}` : ""),
      h("td", { class: "n" }, [l.in_channels, l.mid_channels, l.out_channels].filter(Boolean).join(" → ")),
      h("td", { class: "n" }, `${l.in_size} → ${l.out_size}`),
      h("td", { class: "n" }, ms(l.latency_ms)),
      h("td", { class: "n" }, share((l.latency_ms ?? 0) / total)),
      h("td", { class: "n" }, scaled(l.macs).join(" ")),
      h("td", { class: "n" }, scaled(l.params).join(" ")),
    );
  const names = ["Layer", "Kind", "Kernel", "Channels", "Pixels", "Latency, ms, predicted", "Share", "MACs, exact", "Parameters, exact"];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, names.map((n, i) => h("th", { scope: "col", class: i > 1 ? "n" : null }, n)))),
    h("tbody", {}, layers.map(row), overhead_ms > 0 ? h("tr", {}, h("th", { scope: "row" }, "overhead of a network"), h("td", { colspan: 4 }), h("td", { class: "n" }, ms(overhead_ms)), h("td", { class: "n" }, share(overhead_ms / total)), h("td", { colspan: 2 })) : null),
  );
}

// Fronts of a supernet on devices, loaded once each for a precision and a confidence.

import { get } from "./api.js";

const DASHES = [null, "7 4", "2 3", "10 3 2 3", "5 2"];

/** How the curve of the i-th chosen device is drawn. */
export const lineOf = (i) => ({ hue: i + 1, dash: DASHES[i] });

export class Fronts {
  constructor(state) {
    Object.assign(this, { state, catalog: null, fronts: new Map(), failures: new Map() });
  }

  #key(supernet, device) {
    return [supernet, device, this.state.precision, this.state.confidence].join(" ");
  }

  /** The front of a device as the state asks for it: {status: "loading"} or {status: "ready", ...}. */
  of(device) {
    return this.fronts.get(this.#key(this.state.supernet, device));
  }

  /** The problem document that says why a device has no front, if it has none. */
  failureOf(device) {
    return this.failures.get(this.#key(this.state.supernet, device));
  }

  /** Fronts of the chosen devices that are there, each with its line's hue and dash. */
  get ready() {
    return this.state.devices.map((device, i) => ({ ...this.of(device), device, ...lineOf(i) })).filter((front) => front.status === "ready" && front.points.length);
  }

  /** A device's table has changed: its fronts are asked for again. */
  forget(device) {
    for (const key of this.fronts.keys()) if (key.split(" ")[1] === device) this.fronts.delete(key);
  }

  /** Why there is no front at this precision, if the catalogue already says so. */
  #lackOf(device) {
    const { precision } = this.state;
    const { space } = this.catalog.supernets.find((n) => n.name === this.state.supernet);
    const known = this.catalog.devices.find((d) => d.name === device).precisions[space];
    if (precision === "int8" ? known.includes("int8") : known.some((other) => other !== "int8")) return null;
    return {
      title: `No ${precision} table`,
      detail: `${device} has no latency table at ${precision} for space ${space}, so it has no ${precision} curve and no ${precision} search. Measure one (subnet-search devices measure, or a kit, with --precision ${precision}) and add it under Devices.`,
    };
  }

  async load(supernet, device) {
    const key = this.#key(supernet, device);
    const lack = this.#lackOf(device);
    if (lack) return void this.failures.set(key, lack);
    if (this.fronts.has(key)) return this.fronts.get(key).loaded;
    const entry = { status: "loading" };
    this.fronts.set(key, entry);
    const { precision, confidence } = this.state;
    const query = new URLSearchParams({ layers: true, ...(precision === "int8" && { precision }), ...(confidence && { latency_confidence: confidence }) });
    const path = `/v1/supernets/${encodeURIComponent(supernet)}/devices/${encodeURIComponent(device)}/front?${query}`;
    entry.loaded = get(path).then(
      (front) => {
        for (const point of front.points) point.limited_ms = confidence ? point.latency_upper_ms : point.latency_ms;
        front.provenance.latency_ms.upper_bound = front.provenance.latency_upper_ms;
        this.failures.delete(key);
        Object.assign(entry, { status: "ready", ...front, device, precision, confidence });
      },
      (error) => {
        this.fronts.delete(key); // asked for again next time
        this.failures.set(key, error.document ?? { detail: String(error) });
      },
    );
    return entry.loaded;
  }
}

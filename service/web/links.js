// Measuring another device, or trying a model on it, by a link: its QR code, and how far the device is.

import { Problem, get, post, request } from "./api.js";
import { Curves } from "./curves.js";
import { $, announce, copyButton, h, show } from "./dom.js";
import { ms, share, short } from "./format.js";
import { problem } from "./problems.js";

const POLL_MS = 1000;
const ENDED = ["succeeded", "failed", "expired", "cancelled"];

/** The version of ONNX Runtime Web that the service has for devices; "" if none. */
const RUNTIME = $("meta[name=onnxruntime-web]").content;

/** How to install what a link needs; null where it is installed. */
export function lacksRuntime() {
  if (RUNTIME) return null;
  return h("p", { class: "hint" }, "A phone or another computer can be measured in its browser once the service has ONNX Runtime Web. To install it: ", h("code", {}, "subnet-search runtimes install onnxruntime-web"), ", then reload this page.");
}

/** The form that makes a link to measure a device; `made(link)` gets it. */
export function linkForm(supernets, made) {
  const field = (label, control, hint) => h("label", { class: "field" }, label, control, hint ? h("small", {}, hint) : null);
  const select = (name, options) => h("select", { name }, options.map(([value, text]) => h("option", { value }, text)));
  const form = h(
    "form",
    { class: "link-form", "aria-label": "Measure a phone or another computer" },
    h(
      "div",
      { class: "controls" },
      field("Supernet", select("supernet", supernets.map(({ name }) => [name, name]))),
      field("Name of the device", h("input", { name: "device", maxlength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*", placeholder: "after its browser", autocomplete: "off", spellcheck: "false", title: "a-z 0-9 . _ -, such as my-phone" })),
      field("How", select("mode", [["quick", "quick, a minute"], ["thorough", "thorough, minutes"]])),
      field("Precision", select("precision", [["fp32", "fp32"], ["int8", "int8"]])),
      field("Runs on", select("backends", [["wasm", "processor (WASM)"], ["wasm,webgpu", "processor, and GPU if it has WebGPU"]])),
      field("Threads", h("input", { name: "threads", type: "number", min: 1, max: 64, value: 1, required: true, inputmode: "numeric" })),
      h("button", { class: "primary" }, "Make a link"),
    ),
    h("label", { class: "check" }, h("input", { name: "replace", type: "checkbox" }), "Replace a table that this device has already"),
    h("p", { class: "hint" }, "The other device opens an address once, without key or installation, times networks in its browser, and is stored under its name. Quick fits a table to whole networks; thorough times every layer. More than one thread needs HTTPS."),
    h("div", { class: "refusal" }),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { supernet, device, mode, precision, backends, threads, replace } = Object.fromEntries(new FormData(form));
    const asked = { supernet, device: device || null, mode, precision, backends: backends.split(","), threads: Number(threads), replace: replace === "on" };
    await submit(form, asked, made);
  });
  return form;
}

async function submit(form, asked, made) {
  const button = form.querySelector("button");
  button.disabled = true;
  show(form.querySelector(".refusal"), h("p", { class: "loading" }, h("span", { class: "spinner", "aria-hidden": "true" }), "Making the link. The first one takes a few seconds."));
  announce("Making the link");
  try {
    const link = await (await post("/v1/links", asked)).json();
    show(form.querySelector(".refusal"));
    made(link);
  } catch (error) {
    show(form.querySelector(".refusal"), problem(error instanceof Problem ? error.document : { detail: String(error) }));
    announce(error.message);
  }
  button.disabled = false;
}

/** A link that was made: its code until it is opened, then the device's progress, then what came of it. */
export class LinkView {
  /** `ended(link)` is called when it ends; `actions(link)` gives elements for the end. */
  constructor(link, ended, actions = () => null) {
    Object.assign(this, { link, ended, actions });
    this.first = link; // the only answer with the code
    this.body = h("div", { class: "link-body" });
    this.element = h("section", { class: "card link-card", "aria-label": "Link" }, this.body);
    this.#draw(link);
    this.#follow();
  }

  async #follow() {
    for (let failures = 0; !ENDED.includes(this.link.status); ) {
      await new Promise((wake) => setTimeout(wake, POLL_MS * Math.min(10, 1 + failures)));
      if (!this.element.isConnected) return;
      try {
        this.#draw(await get(`/v1/links/${this.first.id}`));
        failures = 0;
      } catch (error) {
        if (error.status && error.status < 500 && error.status !== 429) return show(this.body, problem(error.document ?? { detail: String(error) }));
        failures += 1;
      }
    }
    this.ended(this.link);
  }

  #draw(link) {
    const before = this.shown;
    this.link = link;
    this.shown = ENDED.includes(link.status) ? "end" : link.status === "open" ? "code" : "progress";
    if (this.shown !== before) show(this.body, this[this.shown](link));
    this.update?.(link);
  }

  code({ purpose, device, warnings }) {
    const { url, qr_svg } = this.first;
    const left = h("b", {});
    this.update = ({ expires_at }) => (left.textContent = countdown(expires_at));
    announce("The link is ready");
    return [
      h("h2", {}, purpose === "try" ? "Open this on the device" : `Open this on ${device ?? "the device"}`),
      h("div", { class: "link-code" }, h("img", { class: "qr", src: `data:image/svg+xml,${encodeURIComponent(qr_svg)}`, alt: "QR code of the address" }), h("div", { class: "link-address" }, h("p", {}, h("code", {}, url)), h("p", { class: "actions" }, copyButton(() => url, "Copy the address"), this.#cancel()), h("p", { class: "hint" }, "Scan it with the camera, or open the address in the device’s browser. It works once, for ", left, "."))),
      warnings.map((text) => h("p", { class: "notice" }, text)),
    ];
  }

  progress({ purpose, device }) {
    const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress on the device" });
    const step = h("span", { class: "step" });
    const plots = h("div", {});
    const notes = h("div", {});
    const curves = purpose === "measure" ? new Curves(plots) : null;
    announce("The device has opened the link");
    this.update = ({ progress, status }) => {
      if (!progress) return void (step.textContent = status === "opened" ? "Opened; it has not started yet" : "Starting");
      const left = progress.seconds_left ? `, ${short(progress.seconds_left, 2)} s left` : "";
      step.textContent = `${progress.phase}: ${Math.floor(100 * progress.share)} %${left}${progress.backend === "webgpu" ? ", on WebGPU" : ""}`;
      bar.value = progress.share;
      curves?.update(progress);
      show(notes, progress.warnings.map((text) => h("p", { class: "notice" }, `On the device: ${text}`)), silence(progress));
    };
    return [h("h2", {}, purpose === "try" ? "The device tries the model" : `${device ?? "The device"} is being measured`), h("div", { class: "progress" }, step, bar, this.#cancel()), notes, curves ? plots : null];
  }

  end(link) {
    this.update = null;
    announce(`The link ${link.status}`);
    const title = { succeeded: link.purpose === "try" ? "Tried on the device" : `${link.devices.join(" and ")} added`, failed: link.purpose === "try" ? "The model could not be tried" : "The device could not be measured", expired: "The link has expired", cancelled: "The link was cancelled" }[link.status];
    const curves = link.progress?.networks.length ? new Curves(h("div", {})) : null;
    curves?.update(link.progress);
    return [
      h("h2", {}, title),
      link.error ? h("p", { class: "notice bad", role: "alert" }, link.error) : null,
      link.warnings.filter((text) => !this.first.warnings.includes(text)).map((text) => h("p", { class: "notice" }, text)),
      link.try_result ? onDevice(link.try_result) : null,
      curves ? [curves.networks.element] : null,
      h("p", { class: "actions" }, this.actions(link)),
    ];
  }

  #cancel() {
    return h(
      "button",
      {
        type: "button",
        class: "quiet small",
        onclick: async () => {
          try {
            await request(`/v1/links/${this.first.id}`, { method: "DELETE" });
            this.#draw(await get(`/v1/links/${this.first.id}`));
          } catch (error) {
            announce(error.message); // it has ended already
          }
        },
      },
      "Cancel",
    );
  }
}

/** What is said when nothing was heard of the device for a while. */
function silence({ updated_at }) {
  const seconds = (Date.now() - new Date(updated_at).getTime()) / 1000;
  return seconds > 20 ? h("p", { class: "notice" }, `Nothing was heard of the device for ${short(seconds, 2)} s: it may be hidden, asleep or without a connection. It goes on when it is back.`) : null;
}

function countdown(until) {
  const seconds = Math.max(0, Math.round((new Date(until).getTime() - Date.now()) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} minutes`;
}

const OUTCOMES = { met: "budget met", met_within_error: "budget met only within the table’s stated error", missed: "budget missed" };

/** What a try on the device found, in words. */
export function onDevice({ latency_ms: latency, answers, passed }) {
  const spread = latency.p90 == null ? "" : ` (p90 ${ms(latency.p90)}, p99 ${ms(latency.p99)})`;
  const budget = latency.outcome ? `, ${OUTCOMES[latency.outcome] ?? latency.outcome}` : "";
  const compared = !answers.images ? "There were no images to compare its answers." : answers.passed ? `Its answers to ${answers.images} images are equal (largest difference ${short(answers.largest_difference, 2)}).` : `Its answers to ${answers.images} images differ by up to ${short(answers.largest_difference, 2)}, allowed ${short(answers.tolerance, 2)}.`;
  return h("p", { class: `notice ${passed ? "good" : "bad"}` }, h("b", {}, passed ? "Verified on the device. " : "Tried on the device. "), `${ms(latency.value)} ms, measured${spread}${budget}. ${compared}`);
}

/** "Try it on the device" for the result of a search, and what earlier tries found. */
export function tryOnDevice(search) {
  const { verified, provenance } = search.result;
  const before = verified.on_device ? onDevice(verified.on_device) : null;
  if (provenance.latency_ms.conditions?.runtime !== "onnxruntime-web") return before;
  if (!RUNTIME) return [before, lacksRuntime()];
  const found = h("div", {}, before);
  const place = h("div", { class: "refusal" });
  const form = h("form", {}, h("button", { class: "quiet" }, "Try it on the device"), place);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await submit(form, { search: search.id }, (link) => {
      const ended = ({ try_result }) => try_result && (show(found, onDevice(try_result)), show(place));
      show(place, new LinkView(link, ended).element);
    });
  });
  return h("div", { class: "try" }, found, form);
}

// What the device's page shows: before, while and after it measures. Plain words, one column.

import { Curves } from "../curves.js";
import { announce, h, show } from "../dom.js";
import { bytes, ms, share, short } from "../format.js";

const card = (...children) => h("div", { class: "card" }, children);
const figure = (name, value, unit = "", about = "") => h("div", { class: "figure large" }, h("dt", {}, name), h("dd", {}, h("span", { class: "value" }, value), unit ? h("span", { class: "unit" }, ` ${unit}`) : null, about ? h("span", { class: "bound" }, about) : null));
const notices = (texts) => (texts ?? []).map((text) => h("p", { class: "notice" }, text));

/** Opened without a link. */
export const noLink = () => card(h("h1", {}, "Measure this device"), h("p", {}, "This page times neural networks on the device that opens it. It needs a link: make one in Subnet Search under Devices, “Measure a phone or another computer”, or with ", h("code", {}, "subnet-search devices link"), "."));

/** Before the start: what happens, how long it takes, what is downloaded and sent. */
export function welcome(runtime_bytes, begin) {
  const button = h("button", { type: "button", class: "primary" }, "Start");
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Starting";
    await begin();
  });
  const size = runtime_bytes ? bytes(runtime_bytes).join(" ") : "about 15 MB";
  return card(
    h("h1", {}, "Measure this device"),
    h("p", {}, "Small neural networks run in this browser, and their times go to ", h("b", {}, location.host), ". Nothing is installed, and nothing else of this device is read."),
    h(
      "ol",
      { class: "steps" },
      h("li", {}, `ONNX Runtime Web (${size}) and the models are downloaded; together 10 to 30 MB on the way, as they are sent compressed.`),
      h("li", {}, "They are timed. Quick: about a minute. Thorough: two to four minutes. A model that is only tried: about 20 seconds. Slow devices take longer; the time left is shown."),
      h("li", {}, "The times are sent with the browser’s name and version."),
    ),
    h("p", { class: "hint" }, "For good figures: plug the device in, close other apps and tabs, and keep this page in front until it is done. The link works once."),
    crossOriginIsolated ? null : h("p", { class: "notice" }, "This page was not opened over HTTPS, so browsers give it a coarse clock and one thread. It measures all the same, in longer samples; the quick way suits it better."),
    button,
  );
}

/** While the service is asked what is to be done. */
export const connecting = () => card(h("h1", {}, "Asking the service"), h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), "This goes on by itself once the service answers."));

/** The panel of a running measurement or try. */
export function running(task, plan) {
  const measuring = task.purpose === "measure";
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const phase = h("b", { id: "phase" }, "Starting");
  const left = h("span", { id: "left" });
  const warnings = h("div", {});
  const plots = h("div", {});
  const texts = new Map();
  const size = plan?.models.reduce((sum, model) => sum + model.bytes, 0); // 0 where they are made on demand
  const title = measuring ? `Measuring ${task.device ?? "this device"}` : "Trying a model on this device";
  const what = measuring
    ? `${Object.keys(plan.timings).length} timings of ${task.supernet}, ${plan.models.length} models${size ? ` of ${bytes(size).join(" ")} together, sent compressed` : ""}; timed for about ${short(task.target_s ?? plan.target_s)} s once they are open, longer on a slow device.`
    : `A network of ${task.supernet} that was found for this device: opened, timed, and its answers compared.`;
  const element = h("div", { class: "card" }, h("h1", {}, title), h("p", { class: "hint" }, what), h("p", { class: "now" }, phase, left), bar, warnings, measuring ? plots : null, h("p", { class: "hint" }, "A reload or a lost connection loses nothing that is finished."));
  const curves = measuring ? new Curves(plots) : null;
  return {
    element,
    notes: () => [...texts.values()],
    note(name, text) {
      if ((texts.get(name) ?? null) === text) return;
      if (text) texts.set(name, text);
      else texts.delete(name);
      show(warnings, notices([...texts.values()]));
      if (text) announce(text);
    },
    update({ phase: now, share: done, seconds_left, networks, speed }) {
      if (phase.textContent.split(",")[0] !== now.split(",")[0]) announce(now);
      phase.textContent = now;
      left.textContent = `${Math.floor(100 * done)} %${seconds_left ? `, ${inMinutes(seconds_left)} left` : ""}`;
      bar.value = done;
      if (networks) curves?.update({ networks, speed });
    },
  };
}

const inMinutes = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

/** After a measurement: what the service said of each result. */
export function measured(task, answers) {
  const devices = answers.flatMap((answer) => answer.devices ?? []);
  return card(
    h("h1", {}, `${[...new Set(devices)].join(" and ") || (task.device ?? "This device")} ${new Set(devices).size > 1 ? "are" : "is"} measured`),
    h("dl", { class: "figures" }, answers.map((answer, i) => figure(`Error on whole networks${answers.length > 1 ? `, ${task.backends[i]}` : ""}`, answer.expected_error == null ? "not known" : `± ${share(answer.expected_error)}`, "", `table ${answer.origin ?? "stored"}`))),
    answers.flatMap((answer) => notices(answer.warnings)),
    h("p", {}, `Networks can now be searched for this device. You can close this page and go on where the link was made.`),
  );
}

const OUTCOMES = { met: "within the budget", met_within_error: "within the budget only by the table’s stated error", missed: "slower than the budget" };

/** After a try: the time against the budget, and whether the answers are equal. */
export function tried(task, { try_result: found }) {
  const { latency_ms: latency, answers } = found;
  const budget = latency.budget_ms ?? task.search?.budget_ms;
  const same = answers.passed == null ? null : answers.passed;
  return card(
    h("h1", {}, found.passed ? "The model runs here as found" : "The model does not run here as found"),
    h("p", { class: `verdict ${latency.outcome === "missed" ? "bad" : ""}` }, `It takes ${ms(latency.value)} ms${budget ? `, ${OUTCOMES[latency.outcome] ?? ""} of ${ms(budget)} ms` : ""}.`),
    h("p", { class: `verdict ${same === false ? "bad" : ""}` }, same === null ? "There are no validation images, so its answers could not be compared." : same ? `Its answers to ${answers.images} images are those of the checked model.` : `Its answers to ${answers.images} images differ by up to ${short(answers.largest_difference)}, more than ${short(answers.tolerance)}.`),
    h("dl", { class: "figures" }, figure("Latency, measured", ms(latency.value), "ms", `p90 ${ms(latency.p90)}, p99 ${ms(latency.p99)} ms`), task.search?.latency_ms ? figure("Predicted", ms(task.search.latency_ms), "ms") : null, answers.images ? figure("Same top-1", `${typeof answers.same_top1 === "number" ? answers.same_top1 : "–"} of ${answers.images}`) : null),
    h("p", {}, "You can close this page; the result is stored with the search."),
  );
}

/** What went wrong, and what to do. */
export function refused(error) {
  const document = error.document ?? {};
  return card(
    h("h1", {}, document.title && document.title !== "about:blank" ? document.title : "This did not work"),
    h("p", { class: "notice bad", role: "alert" }, error.message),
    document.errors?.length ? h("ul", {}, document.errors.slice(0, 5).map((e) => h("li", {}, `${e.pointer ?? ""} ${e.detail ?? ""}`))) : null,
    h("p", {}, [404, 410].includes(error.status) ? "A link works once and expires. Make a new one where this one was made." : "To try again, make a new link where this one was made."),
  );
}

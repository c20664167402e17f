// One device: its tables with conditions, revisions, errors and warnings; taken out, replaced, removed.

import { Problem, get, post, request } from "./api.js";
import { saveFile } from "./csv.js";
import { Plot } from "./curves.js";
import { announce, h, show } from "./dom.js";
import { moment, ms, share, short } from "./format.js";
import { figure, tag } from "./origin.js";
import { problem } from "./problems.js";
import { rowsTable } from "./tables.js";

const CONDITIONS = { runtime: "Runtime", runtime_version: "Its version", provider: "Provider", processor: "Processor", threads: "Threads", batch: "Images of an inference", io: "Input and output", measured_at: "Measured", power_w: "Power, W", user_agent: "Browser" };

/** Fill `place` with a device. `acts`: {explore, back, removed, changed}, called when somebody asks
 * for it, or after it has happened. */
export async function showDevice(place, name, acts) {
  const path = `/v1/devices/${encodeURIComponent(name)}`;
  const leave = h("button", { type: "button", class: "quiet small", onclick: acts.back }, "All devices");
  show(place, h("p", { class: "actions" }, leave), h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `Reading ${name}`));
  let device;
  try {
    device = await get(path);
  } catch (error) {
    return show(place, h("p", { class: "actions" }, leave), problem(error.document ?? { detail: String(error) }));
  }
  const said = h("div", { "aria-live": "polite" });
  const use = h("button", { type: "button", class: "quiet small", onclick: acts.explore }, "See it under Explore");
  const owned = device.tables.some((table) => table.revision != null);
  show(
    place,
    h("header", { class: "view" }, h("h2", { class: "name" }, name)),
    h("p", { class: "actions" }, leave, use, owned ? [replacing(name, said, acts), removing(path, name, said, acts)] : null),
    owned ? null : h("p", { class: "hint" }, "It comes with the program: it can be corrected by measurements, but not removed."),
    said,
    findings(device),
    device.tables.map((table) => tableCard(path, name, table, said)),
  );
}

function tableCard(path, name, table, said) {
  const { space, precision, revisions = [], residual_ratios: ratios = [] } = table;
  const take = h("button", { type: "button", class: "quiet small", onclick: () => takeOut(path, name, table, take, said) }, "Take it out as JSON");
  const known = Object.entries(table.conditions).filter(([, value]) => value != null);
  return h(
    "section",
    { class: "card", "aria-label": `Table for ${space} at ${precision}` },
    h("header", {}, h("h3", { class: "title" }, `${space} at ${precision}`), take),
    h(
      "dl",
      { class: "figures" },
      figure("Layers", String(table.layers), "", tag(table.origin, "", table.source)),
      figure("Error of a whole network", table.expected_error == null ? "unknown" : `± ${share(table.expected_error)}`, "", ratios.length ? tag("measured", `on ${ratios.length} networks`) : null),
      figure("Beyond the layers", ms(table.network_overhead_ms), "ms", tag(table.origin)),
      figure("Sittings", String(table.sittings), "", h("span", { class: "bound" }, table.drift_fraction == null ? "drift between them unknown" : `drift between them ${share(table.drift_fraction)}`)),
    ),
    h("p", { class: "conditions" }, `Source: ${table.source}. ${table.shared ? "Everybody with a key sees it." : "Only its owner sees it."}`),
    h("h4", {}, "Conditions"),
    h("dl", { class: "pairs" }, known.map(([field, value]) => [h("dt", {}, CONDITIONS[field] ?? field), h("dd", {}, field === "measured_at" ? moment(value) : String(value))])),
    ratios.length > 1 ? ratioPlot(ratios) : h("p", { class: "hint" }, "No whole network was timed on it, so there is nothing to compare predictions with."),
    revisions.length ? [h("h4", {}, "Revisions"), revisionTable(revisions)] : null,
  );
}

/** Measured over predicted latency of whole networks, as shares, in order: a straight line at 100 % is
 * a table without errors. */
function ratioPlot(ratios) {
  const plot = new Plot("Measured latency as a share of the predicted one", "Whole networks, in order", "percent");
  const dots = ratios.map((ratio, i) => [i + 1, 100 * ratio]);
  const off = ratios.filter((ratio) => Math.abs(ratio - 1) > 0.1).length;
  plot.draw(dots, [[1, 100], [ratios.length, 100]], `${short(100 * ratios[0])} to ${short(100 * ratios.at(-1))} %; ${off} of ${ratios.length} more than 10 % off`);
  return h("div", { class: "plots" }, plot.element);
}

function revisionTable(revisions) {
  const rows = revisions.map(({ revision, created_at, networks, sha256 }) =>
    h("tr", {}, h("th", { scope: "row" }, String(revision)), h("td", {}, moment(created_at)), h("td", {}, networks == null ? "given as a table" : `corrected by ${networks} networks`), h("td", {}, h("code", {}, sha256.slice(0, 12)))),
  );
  return rowsTable("Revisions", ["Revision", "Stored", "How", "sha256"], rows);
}

async function takeOut(path, name, { space, precision }, button, said) {
  button.disabled = true;
  try {
    const profile = await get(`${path}/table?${new URLSearchParams({ space, precision })}`);
    saveFile(`${name}-${space}-${precision}.json`, JSON.stringify(profile), "application/json");
    announce("The table was saved");
  } catch (error) {
    show(said, problem(error.document ?? { detail: String(error) }));
  }
  button.disabled = false;
}

/** A file that becomes the next revision of a table of this device. */
function replacing(name, said, acts) {
  const input = h("input", { type: "file", id: "replacement", accept: ".json,application/json", class: "unseen" });
  input.addEventListener("change", async () => {
    const text = await input.files[0].text();
    input.value = "";
    try {
      const given = JSON.parse(text);
      if (given.name !== name) throw new Problem({ title: "Another device", detail: `The file is of ${given.name}, not of ${name}.` });
      await post("/v1/devices?replace=true", text);
      announce(`${name} was replaced`);
      await acts.changed();
    } catch (error) {
      show(said, problem(error.document ?? { title: "Not JSON", detail: error.message }));
    }
  });
  return [h("label", { class: "quiet small button", for: "replacement" }, "Replace a table by a file"), input];
}

/** Removal is asked for twice, in the same place. */
function removing(path, name, said, acts) {
  const remove = async () => {
    try {
      await request(path, { method: "DELETE" });
      announce(`${name} was removed`);
      await acts.removed();
    } catch (error) {
      show(said, problem(error.document ?? { detail: String(error) }));
    }
  };
  const ask = () =>
    show(
      said,
      h(
        "div",
        { class: "notice" },
        h("p", {}, `Remove ${name} with all revisions of its tables? Stored searches keep the tables that they were asked with.`),
        h("p", { class: "actions" }, h("button", { type: "button", class: "quiet small", id: "really-remove", onclick: remove }, `Remove ${name}`), h("button", { type: "button", class: "quiet small", onclick: () => show(said) }, "Keep it")),
      ),
    );
  return h("button", { type: "button", class: "quiet small", id: "remove-device", onclick: ask }, "Remove");
}

/** The findings of lint about a device's tables, errors before warnings. */
export function findings(device) {
  const list = (severity) => {
    const found = (device.lint ?? []).filter((finding) => finding.severity === severity);
    return found.length ? h("ul", { class: `findings ${severity}` }, found.map((f) => h("li", {}, `${severity}, ${f.kind}: ${f.detail}`))) : null;
  };
  return [list("error"), list("warning")];
}

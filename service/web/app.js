// Views, the address, the theme and the key; everything else is in the views.

import { get, onKeyNeeded, savedKey, saveKey } from "./api.js";
import { $, announce, show } from "./dom.js";
import { Devices } from "./devices.js";
import { Explore } from "./explore.js";
import { problem } from "./problems.js";
import { Searches } from "./searches.js";
import { readState, writeState } from "./state.js";
import { Supernets } from "./supernets.js";

const state = readState();
const catalog = { supernets: [], devices: [] };
const changed = (how) => writeState(state, how);

async function load() {
  const [supernets, devices] = await Promise.all([get("/v1/supernets"), get("/v1/devices")]);
  Object.assign(catalog, { supernets: supernets.items, devices: devices.items });
}

const views = {
  explore: new Explore(state, changed),
  searches: new Searches(state, changed, (search) => go({ view: "explore", search: search.id, compared: [], supernet: search.request.supernet, devices: [], focus: null, budget: search.request.constraints.latency_ms ?? null, precision: search.request.precision, confidence: search.request.constraints.latency_confidence ?? null })),
  supernets: new Supernets(state, (patch) => go(patch)),
  devices: new Devices(
    state,
    (patch) => go(patch),
    async (name) => {
      views.explore.forget(name);
      await load();
      views.devices.open(catalog);
    },
    async (name) => {
      // A device that a link has just added may not be listed yet.
      if (!catalog.devices.some((d) => d.name === name)) await load();
      const spaces = catalog.devices.find((d) => d.name === name)?.spaces ?? [];
      const supernet = catalog.supernets.find((n) => n.capabilities.search && spaces.includes(n.space)) ?? catalog.supernets.find((n) => spaces.includes(n.space));
      go({ view: "explore", supernet: supernet?.name ?? state.supernet, devices: [name], focus: name, budget: null, search: null });
    },
  ),
};

async function render() {
  for (const name of Object.keys(views)) $(`#${name}`).hidden = name !== state.view;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = { explore: null, searches: "Searches", devices: state.device ?? "Devices", supernets: state.shown ?? "Supernets" }[state.view];
  document.title = [title, "Subnet Search"].filter(Boolean).join(" · ");
  await views[state.view].open(catalog);
}

function go(patch) {
  Object.assign(state, patch);
  changed({ push: true });
  return render();
}

for (const link of document.querySelectorAll("nav [data-view]"))
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go({ view: link.dataset.view, device: null, shown: null, compared: [] });
    window.scrollTo(0, 0);
  });
addEventListener("popstate", () => {
  Object.assign(state, readState());
  render();
});

// -- theme -----------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];
const themeButton = $("#theme");
function theme(next) {
  if (next === "system") {
    localStorage.removeItem("subnet-search.theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("subnet-search.theme", next);
    document.documentElement.dataset.theme = next;
  }
  themeButton.textContent = next[0].toUpperCase() + next.slice(1);
  themeButton.setAttribute("aria-label", `Theme: ${next}`);
}
theme(document.documentElement.dataset.theme ?? "system");
themeButton.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "system";
  theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});

// -- key -------------------------------------------------------------------------------

const dialog = $("#key-dialog");
function markKey() {
  $("#key").textContent = savedKey() ? "Key set" : "API key";
}
function askForKey(detail) {
  $("#key-said").hidden = !detail;
  $("#key-said").textContent = detail && `The service says: ${detail.replace(/\.?$/, ".")}`;
  $("#key-value").value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener(
      "close",
      () => {
        const given = $("#key-value").value.trim();
        if (dialog.returnValue === "forget") saveKey(null);
        if (dialog.returnValue === "save" && given) saveKey(given);
        markKey();
        resolve(dialog.returnValue === "save" && given !== "");
      },
      { once: true },
    ),
  );
}
onKeyNeeded(askForKey);
$("#key").addEventListener("click", async () => {
  if (await askForKey("")) start();
});
markKey();

// -- start -----------------------------------------------------------------------------

async function start() {
  $("#explore").hidden = state.view !== "explore";
  try {
    await load();
  } catch (error) {
    $("#explore").hidden = false;
    show($("#chart"), problem(error.document ?? { detail: String(error) }));
    return announce(error.message);
  }
  await render();
  changed();
}
start();

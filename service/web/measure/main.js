// The page that a link opens on a device: from the code in the address to the result at the service.

import { $, announce, show } from "../dom.js";
import { gpuAdapter, sizeOf } from "./engine.js";
import { Session, claim } from "./session.js";
import { Storage, savedSession, saveSession } from "./storage.js";
import * as views from "./views.js";
import { Work, tellStopped } from "./work.js";

const LASTS_MS = 30 * 60 * 1000;
const view = $("#view");

async function start() {
  const code = location.hash.slice(1);
  const saved = savedSession();
  if (code) return welcome(code);
  if (saved && saved.until > Date.now()) return go(saved);
  saveSession(null);
  show(view, views.noLink());
}

/** What will happen, and the button that begins it. */
async function welcome(code) {
  const begin = async () => {
    try {
      const { session, task } = await claim(code);
      await (await Storage.open()).clear(); // of a link before
      const opened = { secret: session, until: Date.now() + LASTS_MS, finished: {} };
      saveSession(opened);
      history.replaceState(null, "", location.pathname); // a code is good once
      await go(opened, task);
    } catch (error) {
      end(views.refused(error));
    }
  };
  const bytes = await sizeOf("wasm").catch(() => null);
  show(view, views.welcome(bytes, begin));
}

/** Do what the session is for, or go on with it. */
async function go(saved, task = null) {
  const session = new Session(saved.secret, saved.until);
  let storage = null;
  let work = null;
  show(view, views.connecting());
  try {
    task ??= await current(session);
    storage = await Storage.open();
    const plan = task.purpose === "measure" ? ((await storage.get("notes", "plan")) ?? (await session.plan())) : null;
    if (plan) await storage.put("notes", "plan", plan);
    const backends = await usable(task.backends);
    const panel = views.running(task, plan);
    show(view, panel.element);
    work = new Work({ saved, session, storage, task, plan, panel });
    const answers = [];
    for (const [i, backend] of backends.entries()) answers.push(await work.on(backend, i, backends.length));
    await storage.clear();
    end(task.purpose === "measure" ? views.measured(task, answers) : views.tried(task, answers[0]));
  } catch (error) {
    if (work) work.stopped(error);
    else tellStopped(session, error);
    storage?.clear();
    end(views.refused(error));
  }
}

/** The task of a session that still goes on. */
async function current(session) {
  const { task, status } = await session.current();
  if (["succeeded", "failed", "expired", "cancelled"].includes(status)) throw new Error(`This link has ended: it ${status === "succeeded" || status === "failed" ? status : `was ${status}`}.`);
  return task;
}

/** Those that this browser has. */
async function usable(backends) {
  const gpu = backends.includes("webgpu") && (await gpuAdapter());
  const found = backends.filter((backend) => backend !== "webgpu" || gpu);
  if (!found.length) throw new Error("This browser has no WebGPU on this page, and the link asks for nothing else. WebGPU needs HTTPS and a recent browser.");
  return found;
}

function end(element) {
  saveSession(null);
  show(view, element);
  const title = element.querySelector("h1");
  title.tabIndex = -1;
  title.focus();
  announce(title.textContent);
}

// Another link, opened in the same tab: only the part after # changes, and nothing is loaded by itself.
addEventListener("hashchange", () => location.hash && location.reload());
start();

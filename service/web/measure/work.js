// One session's work in a worker: started again after a crash, halted while the page is hidden, reported
// to the service, and its result sent until it is taken.

import { saveSession } from "./storage.js";

const REPORT_MS = 1000;
const RESTARTS = 3;
const OVER = ["cancelled", "expired", "failed", "succeeded"];

export class Work {
  constructor(given) {
    Object.assign(this, given, { reported: -Infinity, last: {}, running: null });
    this.session.onWait = (error) => this.#note("waiting", error && `The service does not answer as it should (${error.message}). Nothing is lost: it is tried again.`);
    if (this.saved.opening) this.#tight(Math.floor((this.saved.capacity ?? this.plan?.models.length ?? 16) / 2)); // the browser ended the page while models were opened
    document.addEventListener("visibilitychange", () => this.#visibility());
    addEventListener("pagehide", () => this.#remember({ opening: false }));
    this.#conditions();
    this.#visibility();
  }

  /** Work with one backend, the `i`-th of `count`; the service's answer to its result. */
  async on(backend, i, count) {
    Object.assign(this, { backend, i, count });
    const key = `result ${backend}`;
    if (this.saved.finished[backend]) return this.saved.finished[backend];
    let body = await this.storage.get("notes", key); // a reload while it was sent
    for (let tries = 0; !body; tries++) body = await this.#inWorker(tries);
    await this.storage.put("notes", key, body);
    this.#show({ phase: "Sending the result", share: 1, seconds_left: null });
    const answer = await this.session.result({ ...body, last: i === count - 1 });
    this.#remember({ finished: { ...this.saved.finished, [backend]: answer } });
    return answer;
  }

  /** The result's body; null if the worker failed in a way that fewer open models may prevent. */
  #inWorker(tries) {
    const { session, task, plan, backend, saved } = this;
    return new Promise((resolve, reject) => {
      const worker = new Worker("/assets/measure/worker.js", { type: "module" });
      this.running = { worker, reject };
      const done = (settle, value) => {
        worker.terminate();
        this.running = null;
        settle(value);
      };
      const failed = ({ detail, document = null, open = 0 }) => {
        if (document || open < 16 || tries >= RESTARTS) return done(reject, Object.assign(new Error(detail), { document }));
        this.#tight(Math.floor(0.6 * open));
        done(resolve, null);
      };
      worker.onerror = (event) => failed({ detail: event.message || "The browser ended the worker.", open: plan?.models.length ?? 0 });
      worker.onmessage = ({ data }) => {
        if (data.kind === "progress") this.#progress(data);
        if (data.kind === "waiting") session.onWait(data.detail && { message: data.detail });
        if (data.kind === "tight") this.#tight(data.capacity);
        if (data.kind === "failed") failed(data);
        if (data.kind === "result") done(resolve, data.body);
      };
      worker.postMessage({ kind: "start", secret: saved.secret, until: saved.until, task, plan, backend, capacity: saved.capacity, hidden: document.hidden });
    });
  }

  #progress({ kind, ...now }) {
    const opening = now.phase.startsWith("Opening");
    if (opening !== Boolean(this.saved.opening)) this.#remember({ opening });
    this.#show(now);
    if (performance.now() - this.reported < REPORT_MS) return;
    this.reported = performance.now();
    this.session.progress(this.#report()).then(
      ({ status }) => {
        this.#note("offline", null);
        if (OVER.includes(status)) this.#stop(new Error(`The link was ${status === "cancelled" ? "cancelled on the computer that made it" : status}.`));
      },
      (error) => {
        if ([404, 410].includes(error.status)) this.#stop(error);
        else if (error.status !== 429) this.#note("offline", "No connection to the service at the moment. Measuring goes on, and what is measured is kept here.");
      },
    );
  }

  #report() {
    const { phase = "Starting", share = 0, seconds_left = null, networks = [], speed = [] } = this.last;
    return { phase, share, seconds_left, backend: this.backend ?? null, networks, speed, warnings: this.panel.notes() };
  }

  /** Tell those who made the link why nothing more comes. */
  stopped(error) {
    tellStopped(this.session, error, this.#report());
  }

  #stop(error) {
    this.running?.worker.terminate();
    this.running?.reject(error);
    this.running = null;
  }

  /** Draw the progress over all backends; what is not said stays as it was. */
  #show(now) {
    const share = now.share == null ? this.last.share : (this.i + now.share) / this.count;
    this.last = { ...this.last, ...now, share: share ?? 0 };
    this.panel.update(this.last);
  }

  #remember(more) {
    Object.assign(this.saved, more);
    saveSession(this.saved);
  }

  #note(name, text) {
    this.panel.note(name, text);
  }

  #tight(capacity) {
    this.#remember({ capacity: Math.max(8, capacity), opening: false });
    this.#note("tight", `The memory is not enough for all models at once: ${this.saved.capacity} are open at a time, which takes longer.`);
  }

  #conditions() {
    const { threads } = this.task;
    if (!crossOriginIsolated) this.#note("isolated", `The page is not isolated, because it was not opened over HTTPS (or this browser does not isolate pages): the clock is coarse${threads > 1 ? `, and one thread is used instead of ${threads}` : ""}.`);
    if (this.task.backends.includes("webgpu") && !navigator.gpu) this.#note("webgpu", "This browser has no WebGPU here: WASM alone is used.");
  }

  async #visibility() {
    const { hidden } = document;
    this.running?.worker.postMessage({ kind: "pause", on: hidden });
    if (hidden) this.wasHidden = true;
    this.#note("hidden", hidden ? "Paused: browsers slow hidden pages down. It goes on when this page is in front again." : this.wasHidden ? "This page was hidden for a while; the round that it interrupted was timed again." : null);
    if (hidden || this.lock?.released === false) return;
    try {
      this.lock = await navigator.wakeLock.request("screen");
    } catch {
      this.#note("screen", "This browser cannot keep the screen on by itself: touch it now and then.");
    }
  }
}

/** Tell those who made a link why nothing more comes; a link that has ended needs no telling. */
export function tellStopped(session, error, report = { share: 0 }) {
  if ([404, 410].includes(error.status)) return;
  session.progress({ ...report, phase: `Stopped: ${error.message}`.slice(0, 300) }).catch(() => {});
}

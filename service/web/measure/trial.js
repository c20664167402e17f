// Trying a finished model on this device: opened, timed in visits, its answers to images sent back.

import { Stopwatch } from "./clock.js";
import { startEngine } from "./engine.js";
import { conditionsOf } from "./measurement.js";
import { sha256Of } from "./models.js";

const VISITS = 40;
const LEAST_VISITS = 8;
const MOST_MS = 10_000;
const WARMUP = 2;
const RUNS = 4;

/** The body of a try's result. */
export async function attempt({ task, backend, session, gate, tell }) {
  const say = (phase, share) => tell("progress", { phase, share, backend });
  say("Downloading the model", 0.02);
  const [bytes, images] = await Promise.all([session.model(), session.images()]);
  say("Opening the model", 0.15);
  const timed = async (work) => {
    const start = performance.now();
    const value = await work();
    return [value, performance.now() - start];
  };
  const shape = [1, ...images.shape.slice(1)];
  const [[engine, model], first_session_ms] = await timed(async () => {
    const started = await startEngine(backend, task.threads);
    return [started, await started.open(bytes, shape)];
  });
  const [, first_run_ms] = await timed(model.run);
  const logits = [];
  const size = shape[1] * shape[2] * shape[3];
  for (let n = 0; n < images.shape[0]; n++) {
    await gate.wait();
    logits.push(Array.from(await model.logits(images.values.slice(n * size, (n + 1) * size))));
    say(`Answering image ${n + 1} of ${images.shape[0]}`, 0.2 + (0.3 * n) / images.shape[0]);
    await gate.breathe();
  }
  const watch = new Stopwatch();
  const times_ms = await visits(watch, model, gate, (share) => say("Timing", 0.5 + 0.5 * share));
  return {
    backend,
    conditions: { ...(await conditionsOf(engine, backend, watch)), first_session_ms, first_run_ms },
    times_ms,
    logits,
    model_sha256: crypto.subtle ? await sha256Of(bytes) : null,
  };
}

/** Visits of a few runs each. A visit during which the page was hidden does not count. */
async function visits(watch, model, gate, report) {
  const found = [];
  const until = performance.now() + MOST_MS;
  for (let tries = 0; tries < 4 * VISITS && found.length < VISITS; tries++) {
    if (found.length >= LEAST_VISITS && performance.now() > until) break;
    await gate.wait();
    const { closings } = gate;
    for (let i = 0; i < WARMUP; i++) await model.run();
    const runs = [];
    for (let i = 0; i < RUNS; i++) runs.push(await watch.sample("model", model.run));
    await gate.breathe();
    if (gate.closings === closings) found.push(runs);
    report(found.length / VISITS);
  }
  return found;
}

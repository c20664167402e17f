// Measuring a plan with one backend: models downloaded and opened, timed in rounds, and the result's body.

import { Stopwatch } from "./clock.js";
import { RUNTIME, gpuAdapter, startEngine } from "./engine.js";
import { Pool, download, keyOf } from "./models.js";
import { MODES, shareOf, timeRounds } from "./rounds.js";
import { median, shuffled, speeds } from "./statistics.js";

const LOADING = 0.1;
/** Share of the progress for downloading and opening. */
const CANARY = { samples: 8, after_ms: 20 };
const TELL_MS = 400;
const SHOWN = 64;

/** The body of a measurement's result. `given`: {task, plan, backend, capacity, session, gate, storage, tell}. */
export async function measure(given) {
  const measurement = new Measurement(given);
  try {
    return await measurement.run();
  } catch (error) {
    throw Object.assign(error, { open: measurement.pool?.open.size ?? 0 });
  }
}

class Measurement {
  constructor(given) {
    Object.assign(this, given);
    const { plan, task } = given;
    this.names = Object.keys(plan.timings);
    this.networks = Object.entries(plan.networks).map(([name, { macs }]) => ({ index: this.names.indexOf(name), macs }));
    this.watch = new Stopwatch();
    this.settings = { count: this.names.length, seed: plan.rounds.seed, target_s: plan.target_s, ...MODES[task.mode] };
    this.key = `${plan.id} ${this.backend}`;
    this.openings = 0;
    this.told = -Infinity;
  }

  async run() {
    const { models } = this.plan;
    await download(this.plan, this.session, this.storage, (done) => this.#say(`Downloading models, ${done} of ${models.length}`, (0.5 * LOADING * done) / models.length));
    const starts = await this.#start();
    this.pool = new Pool(this.engine, models, (i) => this.storage.get("models", keyOf(this.plan, i)), this.capacity ?? models.length, (capacity) => this.tell("tight", { capacity }));
    const { rounds, stopped } = await timeRounds(this.settings, await this.#kept(), {
      open: (part) => this.#open(part),
      canary: () => this.#canary(),
      visit: (i) => this.#visit(i),
      keep: (i, round) => this.storage.put("rounds", `${this.key} ${i}`, round),
      cool: (seconds) => this.gate.rest(seconds, (left) => this.#say(`Cooling down, ${left} s`, null, true)),
      report: (state) => this.#report(state),
      gate: this.gate,
      now: () => performance.now() / 1000,
    });
    const least = this.settings.min_rounds;
    if (rounds.length < least) throw new Error(`${rounds.length} sound rounds were measured, and ${least} are needed: ${stopped === "throttled" ? "the device became more than a fifth slower and stayed so. Let it cool down, plug it in" : "this device takes too long for them. Make a quick link"}, and try with a new link.`);
    return this.#result(rounds, stopped, starts);
  }

  /** Start the runtime, and time its start with the canary's model: the first time, and again. */
  async #start() {
    this.#say("Starting ONNX Runtime", 0.5 * LOADING);
    const { canary, models } = this.plan;
    const bytes = await this.storage.get("models", keyOf(this.plan, canary));
    const timed = async (work) => {
      const start = performance.now();
      const value = await work();
      return [value, performance.now() - start];
    };
    const [first, first_session_ms] = await timed(async () => {
      this.engine = await startEngine(this.backend, this.task.threads);
      return this.engine.open(bytes, models[canary].input);
    });
    const [, first_run_ms] = await timed(first.run);
    await first.release();
    const [again, session_ms] = await timed(() => this.engine.open(bytes, models[canary].input));
    const [run_ms] = await this.watch.warm("start", again.run, { warmup: 2, runs: 3 });
    await again.release();
    const before = await this.storage.get("notes", this.key); // of the start before a reload
    const starts = before ?? { first_session_ms, first_run_ms, session_ms, run_ms };
    if (!before) await this.storage.put("notes", this.key, starts);
    return starts;
  }

  /** The rounds that an earlier load of the page has finished. */
  async #kept() {
    const rounds = [];
    for (let round; (round = await this.storage.get("rounds", `${this.key} ${rounds.length}`)); ) rounds.push(round);
    return rounds;
  }

  /** Open all models anew, in random order: those opened last may lie better in memory. */
  async #open(part) {
    await this.pool.clear();
    this.openings += 1;
    const { models, rounds } = this.plan;
    const order = shuffled(models.length, rounds.seed, part, 1);
    for (const [done, i] of order.slice(0, this.pool.capacity).entries()) {
      await this.pool.get(i);
      const share = part ? null : LOADING * (0.5 + (0.5 * done) / order.length);
      this.#say(`Opening models, ${done + 1} of ${order.length}`, share);
      await this.gate.breathe();
    }
    this.opened = true;
  }

  /** The canary's time: the least of some samples, which other work on the device hardly changes. Cold
   * visits need that of the network that runs before them, too. */
  async #canary() {
    const { plan, watch } = this;
    const { run } = await this.pool.get(plan.canary);
    await run();
    const found = [];
    for (let i = 0; i < CANARY.samples; i++) found.push(await watch.sample("canary", run));
    const cold = Object.values(plan.timings).find((timing) => timing.after != null);
    if (cold) {
      const after = await this.pool.get(cold.after);
      this.after_ms = await watch.sample("after", after.run, CANARY.after_ms);
    }
    return Math.min(...found);
  }

  async #visit(i) {
    const name = this.names[i];
    const timing = this.plan.timings[name];
    const { warmup, runs } = this.plan.rounds;
    const long_ms = this.plan.min_sample_ms;
    const { run } = await this.pool.get(timing.model);
    if (timing.after == null) return this.watch.warm(name, run, { warmup, runs, long_ms, least_ms: this.task.mode === "quick" ? long_ms : 0 });
    const after = await this.pool.get(timing.after);
    if (this.pool.capacity < this.pool.models.length) await (await this.pool.get(timing.model)).run(); // may just have been opened
    return this.watch.cold(name, run, after.run, { runs: this.after_ms > long_ms ? 1 : runs, after_ms: this.after_ms });
  }

  // -- what the page is told -------------------------------------------------------------

  #report({ rounds, times, visited, elapsed_s }) {
    if (performance.now() - this.told < TELL_MS && visited) return;
    const { settings } = this;
    const part = visited / settings.count;
    const spent = rounds.reduce((sum, round) => sum + round.spent_s, 0) + elapsed_s;
    const typical = rounds.length ? median(rounds.map((round) => round.spent_s)) : elapsed_s / part;
    const share = shareOf(settings, rounds.length + part, spent);
    const left_s = Math.max(settings.target_s - spent, typical * (settings.min_rounds - rounds.length - part));
    const networks = this.networks.slice(0, SHOWN).map(({ index, macs }) => ({ macs, latency_ms: latest(rounds, times, index) }));
    const canary_ms = rounds.map((round) => round.canary_ms);
    this.#say(`Timing, round ${rounds.length + (visited ? 1 : 0)}`, LOADING + (1 - LOADING) * share, false, {
      seconds_left: Math.max(1, Math.round(left_s)),
      networks: networks.filter((network) => network.latency_ms > 0),
      speed: speeds(canary_ms),
      rounds: rounds.length,
    });
  }

  #say(phase, share, now = false, more = {}) {
    if (!now && performance.now() - this.told < TELL_MS && !more.networks) return;
    this.told = performance.now();
    this.tell("progress", { phase, share, backend: this.backend, ...more });
  }

  async #result(rounds, stopped, starts) {
    const { plan, backend, engine } = this;
    const column = (i, side) => rounds.map((round) => Number(round.times[2 * i + side].toFixed(6)));
    const times_ms = Object.fromEntries(this.names.map((name, i) => [name, { p50: column(i, 0), mean: column(i, 1) }]));
    return {
      plan: plan.id,
      backend,
      runtime: RUNTIME,
      precision: plan.precision,
      batch: plan.batch,
      space: plan.space,
      conditions: { ...(await conditionsOf(engine, backend, this.watch)), ...starts, openings: this.openings },
      rounds: { ...plan.rounds, times_ms },
      canary_ms: rounds.map((round) => round.canary_ms),
      orders: rounds.map((round) => round.order),
      stopped,
    };
  }
}

/** What is known of a timing: of this round if it was visited, else the median of the rounds before. */
function latest(rounds, times, index) {
  if (times && times[2 * index] > 0 && !rounds.length) return times[2 * index];
  return rounds.length ? median(rounds.map((round) => round.times[2 * index])) : null;
}

/** The conditions of times in this worker. */
export async function conditionsOf(engine, backend, watch) {
  return {
    runtime_version: engine.version,
    provider: backend,
    threads: engine.threads,
    user_agent: navigator.userAgent,
    cross_origin_isolated: crossOriginIsolated,
    hardware_concurrency: navigator.hardwareConcurrency,
    clock_ms: watch.clock_ms,
    io: "host",
    ...(backend === "webgpu" && { gpu_adapter: await gpuAdapter() }),
  };
}

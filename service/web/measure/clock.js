// Timing with a clock whose steps may be longer than what is timed.
//
// A browser's clock has steps of 5 to 20 microseconds in an isolated page, and of 0.1 to 1 ms in others.
// A sample is therefore a loop of runs that takes at least TICKS steps: a step at either end is then
// below one percent of it. A single run that follows a run of another model cannot be looped. It is timed
// singly, and short ones are averaged: where the steps fall is random, so the mean is right, and the
// median is not. Where a step is long even beside the other model's run, pairs of both are looped, and the
// other model's time, looped likewise, is subtracted; its own noise is then in the difference.

import { mean, median } from "./statistics.js";

export const TICKS = 50;
const FINE_MS = 0.01;
const FINE_SHARE = 0.05;
/** Longest step for which single runs are timed: milliseconds, or a share of the other model's run. */
const MOST_RUNS = 100_000;
const LEAST_MS = 1e-4;

/** The shortest step that a clock was seen to make, milliseconds. */
export function resolution(now, steps = 20) {
  let least = Infinity;
  let before = now();
  const until = before + 100;
  for (let seen = 0; seen < steps && before < until; ) {
    const time = now();
    if (time === before) continue;
    least = Math.min(least, time - before);
    before = time;
    seen += 1;
  }
  return Number(least.toPrecision(3));
}

export class Stopwatch {
  constructor(now = () => performance.now(), clock_ms = resolution(now)) {
    Object.assign(this, { now, clock_ms, counts: new Map(), latest: new Map() });
  }

  /** Whether single runs are timed that follow a run of `after_ms`. */
  isFine(after_ms = 0) {
    return this.clock_ms <= Math.max(FINE_MS, FINE_SHARE * after_ms);
  }

  /** Milliseconds of a run, as the mean of a loop of at least `least_ms`; `name` remembers how many
   * runs that are. */
  async sample(name, run, least_ms = 0) {
    const enough = Math.max(least_ms, TICKS * this.clock_ms);
    let count = this.counts.get(name) ?? 1;
    for (;;) {
      const start = this.now();
      for (let i = 0; i < count; i++) await run();
      const elapsed = this.now() - start;
      if (elapsed >= 0.8 * enough || count >= MOST_RUNS) {
        this.counts.set(name, Math.max(1, Math.min(MOST_RUNS, Math.ceil((count * enough) / elapsed))));
        this.latest.set(name, elapsed / count);
        return elapsed / count;
      }
      count = Math.min(MOST_RUNS, Math.max(2 * count, Math.ceil((count * enough) / Math.max(elapsed, enough / 8))));
    }
  }

  /** Median and mean of `runs` samples, run after run, after `warmup` runs; together at least `least_ms`.
   * Of a model whose run takes longer than `long_ms`, one of each is enough. */
  async warm(name, run, { warmup, runs, least_ms = 0, long_ms = Infinity }) {
    const once = this.latest.get(name) > long_ms;
    for (let i = 0; i < (once ? 1 : warmup); i++) await run();
    const found = [];
    for (let i = 0; i < (once ? 1 : runs); i++) found.push(await this.sample(name, run, least_ms / runs));
    return [median(found), mean(found)];
  }

  /** The same of runs that each follow a run of `after`, which alone takes `after_ms`. */
  async cold(name, run, after, { runs, after_ms }) {
    if (!this.isFine(after_ms)) {
      const pair_ms = await this.sample(name, async () => (await after(), await run()));
      const left = Math.max(LEAST_MS, pair_ms - after_ms);
      return [left, left];
    }
    const found = [];
    for (let i = 0; i < runs; i++) {
      await after();
      const start = this.now();
      await run();
      found.push(this.now() - start);
    }
    const average = Math.max(LEAST_MS, mean(found));
    return [average < TICKS * this.clock_ms ? average : median(found), average];
  }
}

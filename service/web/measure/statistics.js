// Figures of a measurement: medians, random orders that a seed repeats, and whether a device slows down.

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const mean = (values) => Float64Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;

/** Numbers in [0, 1) that are equal for equal seeds, integers (mulberry32). */
export function random(...seeds) {
  let state = seeds.reduce((mixed, seed) => Math.imul(mixed ^ (seed >>> 0), 0x9e3779b1) + 0x7f4a7c15, 0x2545f491);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The integers below `count` in an order that the seeds decide (Fisher and Yates). */
export function shuffled(count, ...seeds) {
  const next = random(...seeds);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(next() * (i + 1));
    [order[i], order[other]] = [order[other], order[i]];
  }
  return order;
}

export const SLOWER = 1.2;
export const ROUNDS_RUNNING = 3;

/** Whether the last three rounds' canary was slower than its best by more than a fifth. */
export function throttled(canary_ms) {
  const best = Math.min(...canary_ms);
  return canary_ms.length > ROUNDS_RUNNING && canary_ms.slice(-ROUNDS_RUNNING).every((ms) => ms > SLOWER * best);
}

/** The speed of each round as a share of the best. */
export function speeds(canary_ms) {
  const best = Math.min(...canary_ms);
  return canary_ms.map((ms) => best / ms);
}

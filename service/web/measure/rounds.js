// Times all models in rounds, so that other work on the device and its drift affect all of them alike.
//
// A round visits every timing once, in random order. Finished rounds are kept one by one; one that was
// interrupted, because the page was hidden, is not. A canary is timed in each: a device that gets hot
// runs slower, and what it measures then is not what it will do cool.

import { ROUNDS_RUNNING, shuffled, throttled } from "./statistics.js";

export const MOST_ROUNDS = 400;
/** Which rounds a mode needs at least, and how often its models are opened. Openings of one model
 * differ by about a percent, depending on where its weights lie in memory. `cool_s`: pauses to cool,
 * seconds; if the device is slow again after the last, the measurement stops. A quick one is over before
 * a device gets hot: whether it slowed down is told afterwards, from all of its rounds. */
export const MODES = { quick: { min_rounds: 5, openings: 3, cool_s: [] }, thorough: { min_rounds: 8, openings: 2, cool_s: [20, 40] } };

/** The finished share of the rounds, 0..1. */
export const shareOf = ({ target_s, min_rounds }, done, spent_s) => Math.min(done / min_rounds, target_s > 0 ? spent_s / target_s : 1, 1);

/** Time rounds until there are enough.
 *
 * `plan`: {count, seed, target_s, min_rounds, openings, cool_s}.
 * `kept`: finished rounds [{times: (2 x count) p50 and mean alternating, order of the visits, canary_ms, spent_s}].
 * `does`: {open(part), canary(), visit(i) -> [p50, mean], gate, keep(i, round), cool(seconds), report(state), now() in seconds};
 * `gate`: {closings: how often the page was hidden, wait(): until it is shown, breathe(), isLate(seconds)}.
 * Returns {rounds, stopped: null | "throttled" | "time"}.
 */
export async function timeRounds(plan, kept, does) {
  const rounds = [...kept];
  let pauses = 0;
  let tries = 0;
  let opened = -1;
  const spent = () => rounds.reduce((sum, round) => sum + round.spent_s, 0);
  while (rounds.length < MOST_ROUNDS) {
    const share = shareOf(plan, rounds.length, spent());
    if (share >= 1) break;
    if (does.gate.isLate(Math.max(0, ...rounds.map((round) => round.spent_s)))) return { rounds, stopped: "time" };
    await does.gate.wait();
    if (opened < Math.floor(plan.openings * share)) {
      opened = Math.floor(plan.openings * share);
      await does.open(opened);
    }
    const round = await oneRound(plan, rounds, tries++, does);
    if (!round) continue;
    rounds.push(round);
    await does.keep(rounds.length - 1, round);
    does.report({ rounds, visited: 0, elapsed_s: 0 });
    if (plan.cool_s.length && throttled(rounds.map((r) => r.canary_ms))) {
      rounds.splice(-ROUNDS_RUNNING);
      if (pauses === plan.cool_s.length) return { rounds, stopped: "throttled" };
      await does.cool(plan.cool_s[pauses++]);
    }
  }
  return { rounds, stopped: null };
}

/** One round, or null if it was interrupted. */
async function oneRound(plan, rounds, tries, does) {
  const closings = does.gate.closings;
  const start = does.now();
  const canary_ms = await does.canary();
  const times = new Float64Array(2 * plan.count);
  let visited = 0;
  const order = shuffled(plan.count, plan.seed, tries);
  for (const i of order) {
    times.set(await does.visit(i), 2 * i);
    does.report({ rounds, times, visited: ++visited, elapsed_s: does.now() - start });
    await does.gate.breathe();
    if (does.gate.closings !== closings) return null;
  }
  return { times, order, canary_ms, spent_s: does.now() - start };
}

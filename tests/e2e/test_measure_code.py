"""The measuring page's arithmetic in a browser: orders, medians, clocks, rounds, throttling."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest

from tests.e2e.browser import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM} on this machine"),
]

FAKE_CLOCK = """
  // Time that only runs on; the clock shows it in steps, at a random phase.
  const clockOf = (step_ms, seed) => {
    const next = random(seed);
    let time = 1000 * next();
    return {
      now: () => ((time += 1e-5), Math.floor(time / step_ms) * step_ms),
      takes: (ms, spread = 0.02) => async () => void (time += ms * (1 + spread * (next() - 0.5))),
    };
  };
"""


@pytest.fixture
def run(page, url):
    """Evaluate JavaScript to which the page's modules are known, with an argument."""
    page.goto(f"{url}/assets/icon.svg")

    def run(script, given=None):
        return page.evaluate(
            f"""async (given) => {{
              const from = (name) => import(`/assets/measure/${{name}}.js`);
              const {{ median, mean, random, shuffled, throttled }} = await from("statistics");
              const {{ Stopwatch }} = await from("clock");
              const {{ timeRounds }} = await from("rounds");
              {FAKE_CLOCK}
              {script}
            }}""",
            given,
        )

    return run


def test_medians_and_means_are_those_of_python(run):
    rng = np.random.default_rng(0)
    lists = [rng.lognormal(size=n).tolist() for n in range(1, 30)]
    found = run("return given.map((values) => [median(values), mean(values)])", lists)
    for values, (median, mean) in zip(lists, found, strict=True):
        assert median == statistics.median(values)
        assert mean == pytest.approx(statistics.mean(values))


def test_orders_are_permutations_that_seeds_repeat(run):
    orders = run("return given.map((seeds) => shuffled(50, ...seeds))", [[0, 1], [0, 1], [0, 2]])
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] == orders[1] != orders[2]
    counts = run(
        """const counts = new Array(16).fill(0);
        for (let seed = 0; seed < 4000; seed++)
          shuffled(4, seed).forEach((value, place) => (counts[4 * place + value] += 1));
        return counts;"""
    )
    assert np.abs(np.array(counts) / 1000 - 1).max() < 0.15, "each place is as likely for each"


def test_throttling_is_three_rounds_running_a_fifth_slower(run):
    rng = np.random.default_rng(0)
    histories = [rng.choice([1.0, 1.1, 1.19, 1.21, 1.5], n).tolist() for n in range(1, 60)]
    found = run("return given.map(throttled)", histories)
    for history, is_throttled in zip(histories, found, strict=True):
        slow = [ms > 1.2 * min(history) for ms in history]
        assert is_throttled == (slow[-3:] == [True] * 3), history
    assert {True, False} == set(found)


@pytest.mark.parametrize("step_ms", [0.005, 0.1, 1.0])
def test_a_clock_of_any_step_gives_the_same_times(run, step_ms):
    """Warm and cold ones, of a short model and of a long one."""
    for true_ms, after_ms in itertools.product((0.03, 0.7, 12.0), (0.5, 5.0)):
        seen, warm, cold = run(
            """const clock = clockOf(given.step_ms, 7);
            const watch = new Stopwatch(clock.now);
            const visits = { warm: [], cold: [] };
            const [run, after] = [clock.takes(given.true_ms), clock.takes(given.after_ms)];
            for (let round = 0; round < given.rounds; round++) {
              const after_ms = watch.isFine() ? 0 : await watch.sample("after", after, 200);
              visits.warm.push((await watch.warm("w", run, { warmup: 2, runs: 4 }))[0]);
              visits.cold.push((await watch.cold("c", run, after, { runs: 4, after_ms }))[1]);
            }
            return [watch.clock_ms, mean(visits.warm), mean(visits.cold)];""",
            {"step_ms": step_ms, "true_ms": true_ms, "after_ms": after_ms, "rounds": 40},
        )
        assert seen == pytest.approx(step_ms, rel=1e-6)
        assert warm == pytest.approx(true_ms, rel=0.01)
        # What is subtracted with a coarse clock is timed itself.
        assert cold == pytest.approx(true_ms, rel=0.03, abs=0.012)


def test_a_long_run_is_timed_once_a_visit(run):
    counts = run(
        """const clock = clockOf(0.005, 1);
        const watch = new Stopwatch(clock.now);
        const count = async (ms) => {
          const takes = clock.takes(ms);
          let runs = 0;
          const visits = [];
          for (let visit = 0; visit < 2; visit++) {
            runs = 0;
            const counted = () => ((runs += 1), takes());
            await watch.warm(String(ms), counted, { warmup: 2, runs: 4, long_ms: 15 });
            visits.push(runs);
          }
          return visits;
        };
        return [await count(1), await count(40)];"""
    )
    assert counts == [[6, 6], [6, 2]]


ROUNDS = """
  const times = new Float64Array(2 * given.count);
  const log = { visits: [], opened: [], kept: [], cooled: [], shares: [] };
  let now = 0;
  let tries = 0;
  const gate = {
    closings: 0,
    isLate: (seconds) => now + seconds > (given.until ?? 1e9),
    wait: async () => {},
    breathe: async () => void (gate.closings += log.visits.length === given.hidden_at ? 1 : 0),
  };
  const { count, target_s } = given;
  const cool_s = given.cool_s ?? [20, 40];
  const plan = { count, seed: 3, target_s, min_rounds: 4, openings: 2, cool_s };
  const { rounds, stopped } = await timeRounds(plan, given.kept ?? [], {
    gate,
    open: async (part) => log.opened.push(part),
    canary: async () => given.canary_ms[Math.min(tries++, given.canary_ms.length - 1)],
    visit: async (i) => ((now += 1), log.visits.push(i), [i + 1, i + 2]),
    keep: async (i) => log.kept.push(i),
    cool: async (seconds) => log.cooled.push(seconds),
    report: () => {},
    now: () => now,
  });
  const plain = rounds.map((round) => ({ ...round, times: [...round.times] }));
  return { ...log, stopped, rounds: plain };
"""


def test_rounds_visit_everything_until_there_is_enough(run):
    found = run(ROUNDS, {"count": 5, "target_s": 28, "canary_ms": [1]})
    assert len(found["rounds"]) == 6, "28 s of rounds of 5 s"
    assert found["kept"] == list(range(6))
    assert found["opened"] == [0, 1]
    visits = np.array(found["visits"]).reshape(6, 5)
    assert (np.sort(visits, axis=1) == np.arange(5)).all()
    assert len({tuple(visit) for visit in visits.tolist()}) > 1
    assert [round["order"] for round in found["rounds"]] == visits.tolist()
    assert found["rounds"][0]["times"] == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    few = run(ROUNDS, {"count": 50, "target_s": 28, "canary_ms": [1]})
    assert len(few["rounds"]) == 4, "as many as a table needs"


def test_rounds_end_before_the_session_does(run):
    found = run(ROUNDS, {"count": 5, "target_s": 28, "canary_ms": [1], "until": 23})
    assert found["stopped"] == "time"
    assert len(found["rounds"]) == 4, "a fifth would end after 23 s"


def test_rounds_go_on_from_those_kept_and_repeat_the_one_that_was_interrupted(run):
    whole = run(ROUNDS, {"count": 5, "target_s": 28, "canary_ms": [1]})
    kept = whole["rounds"][:4]
    found = run(ROUNDS, {"count": 5, "target_s": 28, "canary_ms": [1], "kept": kept})
    assert len(found["visits"]) == 10
    assert found["kept"] == [4, 5]
    hidden = run(ROUNDS, {"count": 5, "target_s": 28, "canary_ms": [1], "hidden_at": 7})
    assert len(hidden["rounds"]) == 6
    assert len(hidden["visits"]) == 6 * 5 + 2, "two visits of the second round were lost"


def test_a_device_that_gets_hot_rests_and_then_stops_with_what_is_sound(run):
    recovers = run(ROUNDS, {"count": 5, "target_s": 40, "canary_ms": [1, 1, 1.3, 1.3, 1.3, 1]})
    assert recovers["stopped"] is None
    assert recovers["cooled"] == [20]
    assert all(round["canary_ms"] == 1 for round in recovers["rounds"])
    stays = run(ROUNDS, {"count": 5, "target_s": 400, "canary_ms": [1, 1, 1, 1, 1, 1.3]})
    assert stays["stopped"] == "throttled"
    assert stays["cooled"] == [20, 40]
    assert [round["canary_ms"] for round in stays["rounds"]] == [1] * 5
    quick = run(ROUNDS, {"count": 5, "target_s": 40, "canary_ms": [1, 1, 1, 1.3], "cool_s": []})
    assert (quick["stopped"], quick["cooled"], len(quick["rounds"])) == (None, [], 8)


def test_models_that_do_not_fit_in_memory_are_opened_in_turn(run):
    found = run(
        """const { Pool } = await from("models");
        const told = [];
        let [open, most, opened] = [0, 0, 0];
        const engine = { open: async (bytes) => {
          if (open >= 20) throw new RangeError("out of memory");
          most = Math.max(most, ++open);
          opened += 1;
          return { bytes, release: async () => void (open -= 1) };
        } };
        const models = Array.from({ length: 60 }, () => ({ input: [1] }));
        const tell = (capacity) => told.push(capacity);
        const pool = new Pool(engine, models, async (i) => i, models.length, tell);
        let wrong = 0;
        for (let round = 0; round < 3; round++)
          for (const i of shuffled(60, round)) wrong += (await pool.get(i)).bytes !== i;
        const again = opened;
        await pool.get(shuffled(60, 2).at(-1));
        const reopened = opened - again;
        await pool.clear();
        return { wrong, told, most, open, reopened };"""
    )
    assert found == {"wrong": 0, "told": [12], "most": 20, "open": 0, "reopened": 0}


def test_a_model_that_cannot_be_opened_at_all_is_said_so(run):
    said = run(
        """const { Pool } = await from("models");
        const engine = { open: async () => { throw new Error("no such operator"); } };
        const pool = new Pool(engine, [{}, {}], async (i) => i, 2, () => {});
        return pool.get(0).catch((error) => error.message);"""
    )
    assert said == "no such operator"

"""Models that are dear to open are opened once, which is said, and all ends in time; on a made-up
clock."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.benchmark import runner
from latency_tables.benchmark.measure import RuntimeStopwatch
from latency_tables.benchmark.plan import plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.benchmark.table_assembly import assemble_table
from latency_tables.runtimes import register_runtime, unregister_runtime
from tests.extension.mac_counter import CountedModel, MacCounter
from tests.spaces import DEBUG

PART = DEBUG.at([8])


class Accelerator(MacCounter):
    """Searches for algorithms at a model's first run; the time that passes is made up."""

    name = "accelerator"

    def __init__(self) -> None:
        self.now_s = self.first_run_s = self.run_s = 0.0
        self.opened: list[str] = []

    def open(self, model, *, provider, threads, batch, io="host"):
        self.opened.append(io)
        return SlowAtFirst(self, super().open(model, provider=None, threads=1, batch=batch))


class SlowAtFirst:
    ran_on = "Accelerator"

    def __init__(self, device: Accelerator, model: CountedModel) -> None:
        self.device, self.model, self.first = device, model, True

    def run(self) -> None:
        self.device.now_s += self.device.first_run_s if self.first else self.device.run_s
        self.first = False

    def time_ms(self) -> float:
        self.run()
        return self.model.time_ms()


ACCELERATOR = Accelerator()


@pytest.fixture
def device():
    ACCELERATOR.__init__()  # type: ignore[misc]
    register_runtime(ACCELERATOR)
    yield ACCELERATOR
    unregister_runtime(ACCELERATOR.name)


def measured(device: Accelerator, *, opening_s: float, round_s: float, target_s: float) -> Any:
    """Plan, times, what was said and when, and the progress."""
    options = MeasureOptions(runtime=device.name, target_s=target_s, networks=10, io="device")
    plan = plan_benchmark(PART, options.networks, options.seed)
    models = len({*plan.chains.values(), *plan.networks.values()})
    runs = sum(6 if timing.after is None else 8 for timing in plan.timings.values())
    device.first_run_s, device.run_s = opening_s / models, round_s / runs
    said: list[tuple[float, str]] = []
    shown: list[tuple[float, float, str]] = []
    times = time_chains(
        plan.timings,
        RuntimeStopwatch(options),
        options,
        lambda share, doing="": shown.append((device.now_s, share, doing)),
        clock=lambda: device.now_s,
        say=lambda text: said.append((device.now_s, text)),
    )
    return plan, models, times, said, shown


def test_a_gpu_is_measured_in_the_time_asked_for(device) -> None:
    plan, models, times, said, shown = measured(device, opening_s=57, round_s=4, target_s=120)
    assert 110 <= device.now_s <= 1.25 * 120
    assert device.opened == ["device"] * models, "opened once, and kept"
    ((said_s, text),) = said
    assert text == f"opening {models} models takes about 57 s, then rounds for 63 s"
    assert said_s < 5, "before the long part"
    shares = [share for _, share, _ in shown]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {doing for _, _, doing in shown[:models]} == {f"opening {models} models"}
    moments = [0.0, *(moment for moment, _, _ in shown)]
    assert max(np.diff(moments)) < 5
    assert abs(np.interp(60, [m for m, _, _ in shown], shares) - 0.5) < 0.05
    conditions = RuntimeStopwatch(MeasureOptions(runtime=device.name)).conditions
    table = assemble_table(PART, plan, times, device="gpu", conditions=conditions, runs=4, seed=0)
    assert table.missing(PART) == []
    assert table.expected_error == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_models_that_open_fast_are_opened_as_often_as_ever(device) -> None:
    _, models, times, said, _ = measured(device, opening_s=4, round_s=5, target_s=120)
    assert len(device.opened) == runner.OPENINGS * models
    assert said == []
    assert len(next(iter(times.values()))) == 21  # of 104 s that are left
    assert device.now_s <= 1.1 * 120


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opening_s", "round_s", "rounds", "words"),
    [
        (150, 2, 5, "takes about 150 s, longer than the 120 s asked for, and 5 rounds follow"),
        (57, 30, 5, "a round takes 30 s, and a table needs 5: about 207 s in all, not 120 s"),
        (1, 30, 10, "a round takes 30 s, and a table needs 10: about 304 s in all, not 120 s"),
    ],
)
def test_too_short_a_time_is_said_at_once(device, opening_s, round_s, rounds, words) -> None:
    _, _, times, said, _ = measured(device, opening_s=opening_s, round_s=round_s, target_s=120)
    assert len(next(iter(times.values()))) == rounds
    moment_s, text = said[-1] if opening_s < 100 else said[0]
    assert words in text
    assert "fewer input sizes take less" in text
    assert moment_s <= (opening_s + 2 * round_s if opening_s < 100 else 15)


@given(opening_s=st.floats(0, 100), round_s=st.floats(0.01, 12), target_s=st.integers(60, 300))
def test_opening_and_rounds_share_the_time(opening_s, round_s, target_s) -> None:
    rounds = dataclasses.replace(runner.Rounds(), target_s=target_s)
    left = rounds.beside(opening_s)
    assert 1 <= left.openings <= rounds.openings
    assert left.openings * opening_s + left.target_s == pytest.approx(
        max(target_s, left.openings * opening_s)
    )
    spent_s, done = 0.0, 0
    while left.share(done, spent_s) < 1:
        spent_s, done = spent_s + round_s, done + 1
    total_s = left.openings * opening_s + spent_s
    needed_s = left.openings * opening_s + left.min_rounds * round_s
    assert total_s <= max(target_s + round_s, needed_s) + 1e-6
    assert done >= left.min_rounds
    if opening_s <= runner.CHEAP_OPENING_S:
        assert (left.openings, left.min_rounds) == (rounds.openings, rounds.min_rounds)

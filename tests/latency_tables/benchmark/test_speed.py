"""The speed of a device at each visit: told from what was visited then, and divided out."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from latency_tables.benchmark.speed import PASSES, SETTLED, slowness, window_of

MODELS, ROUNDS = 30, 12
USUAL = np.geomspace(0.3, 9, MODELS)


def visited(rng, slow_V, noise=0.01):
    """Times of visits in random orders, given how slow the device is at each."""
    orders = [rng.permutation(MODELS).tolist() for _ in range(ROUNDS)]
    times = np.empty((MODELS, ROUNDS))
    for visit, slow in enumerate(slow_V):
        number, place = divmod(visit, MODELS)
        model = orders[number][place]
        times[model, number] = USUAL[model] * slow * np.exp(noise * rng.standard_normal())
    return times, orders


def two_speeds(rng):
    """1 and 1.75 in turn, each for 15 to 60 visits."""
    lengths = rng.integers(15, 60, MODELS * ROUNDS)
    return np.repeat(np.resize([1, 1.75], len(lengths)), lengths)[: MODELS * ROUNDS]


@pytest.mark.parametrize("seed", range(12))
def test_a_device_of_two_speeds_is_measured_as_well_as_a_steady_one(seed):
    rng = np.random.default_rng(seed)
    times, orders = visited(rng, two_speeds(rng))
    found = np.median(times / slowness(times, orders), axis=1) / USUAL
    assert found / np.median(found) == pytest.approx(1, abs=0.03)
    plain = np.median(times, axis=1) / USUAL
    assert np.std(np.log(found)) < 0.1 * np.std(np.log(plain)), "medians alone do not do it"


def test_a_steady_device_keeps_its_times():
    times, orders = visited(np.random.default_rng(1), np.ones(MODELS * ROUNDS))
    found = np.median(times / slowness(times, orders), axis=1)
    assert found == pytest.approx(np.median(times, axis=1), rel=0.01)


def test_the_usual_speed_is_the_median_of_the_visits():
    rng = np.random.default_rng(2)
    slow = np.where(np.arange(MODELS * ROUNDS) < 100, 1.75, 1.0)
    times, orders = visited(rng, slow)
    found = slowness(times, orders)
    assert np.median(found) == pytest.approx(1)
    assert np.median(times / found, axis=1) == pytest.approx(USUAL, rel=0.03)
    single, order = visited(rng, np.ones(MODELS * ROUNDS))[0][:, :1], [list(range(MODELS))]
    assert (slowness(single, order) == 1).all(), "one round tells nothing"


def plainly(times, orders):
    """The same in loops."""
    logs = np.log(times).tolist()
    visits = [(model, number) for number, order in enumerate(orders) for model in order]
    half, slow = window_of(len(times)) // 2, dict.fromkeys(visits, 0.0)
    for _ in range(PASSES):
        usual = [
            statistics.median(logs[m][r] - slow[m, r] for r in range(len(orders)))
            for m in range(len(times))
        ]
        excess = [logs[m][r] - usual[m] for m, r in visits]
        mirrored = [*excess[:half][::-1], *excess, *excess[-half:][::-1]]
        smooth = [statistics.median(mirrored[i : i + 2 * half + 1]) for i in range(len(visits))]
        middle = statistics.median(smooth)
        before, slow = slow, {v: value - middle for v, value in zip(visits, smooth, strict=True)}
        if max(abs(slow[visit] - before[visit]) for visit in visits) < SETTLED:
            break
    return np.exp([[slow[m, r] for r in range(len(orders))] for m in range(len(times))])


def test_it_equals_plain_loops():
    rng = np.random.default_rng(3)
    times, orders = visited(rng, two_speeds(rng), noise=0.1)
    assert slowness(times, orders) == pytest.approx(plainly(times, orders), rel=1e-12)

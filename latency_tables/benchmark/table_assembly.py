"""The table that follows from the times of chains and whole networks.

A network is modelled as a share of its layers' warm times, a share of their cold times, and an
overhead (`plan` defines warm and cold). These three numbers are fitted to the timed networks.

Shapes: R rounds, N networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.benchmark.plan import COLD, BenchmarkPlan, ChainPair
from latency_tables.benchmark.runner import OPENINGS, Floats
from latency_tables.benchmark.speed import at_usual_speed
from latency_tables.table import (
    Conditions,
    LatencyTable,
    LayerLatency,
    Note,
    change_in_words,
    steady_change,
)
from models.errors import InputError
from models.spaces import SearchSpace

RESOLUTION_MS = 1e-6
"""Least latency of an entry: some layers (pooling) cost less than a timer resolves."""
PRIOR = (0.5, 0.5)
"""Prior mean of the warm and the cold share."""
SHARE_SPREAD, OVERHEAD_SPREAD = 0.5, 10.0
"""Prior standard deviations: of the shares, and of the overhead as a share of a network's time."""
NOISE = 0.03
"""Relative error of a network above which the robust fit gives it less weight."""
REFITS = 10
PARTS, MIN_ROUNDS_PER_PART = OPENINGS, 5
"""Parts of a measurement, one for each opening of the models, and the rounds that each needs."""
STEADY_CHANGE = 1.15
"""Growth of the times over the rounds that is named: the speed of a virtual machine drifts by 7 %
within minutes."""
LAYER_QUANTILE = 0.1
"""Quantile over its visits that counts as a chain's time."""


@dataclass(frozen=True, slots=True)
class Mix:
    """The fitted shares of warm and cold time, and the overhead of a network."""

    warm: float
    cold: float
    overhead_ms: float


def assemble_table(
    space: SearchSpace,
    plan: BenchmarkPlan,
    times: Mapping[str, Floats],
    *,
    device: str,
    conditions: Conditions,
    runs: int,
    seed: int | None,
) -> LatencyTable:
    """The table of measured times.

    It is fitted to the times at the device's usual speed. Its expected error and upper bounds are
    of the times as they were: a later measurement meets other speeds.

    Args:
        times: (R, 2) milliseconds of each of `plan.timings`: median and mean of each visit.
        runs: timed runs of each visit.
        seed: of the orders of the visits; None: `times` are at the usual speed already.

    Raises:
        InputError: the times are so disturbed that a network is predicted to take no time.
    """
    steady = times if seed is None else at_usual_speed(times, seed=seed)
    layers = _layer_times(plan, steady)
    measured_N = np.array([p50_ms(steady[name]) for name in plan.networks])
    sums_N2 = np.array(
        [np.sum([layers[n.key] for n in network], axis=0) for network in plan.networks.values()]
    )
    mix = fit_mix(sums_N2, measured_N)
    share = np.array([mix.warm, mix.cold])
    entries = {
        key: _latency(float(share @ layers[key]), _mixed(steady, pair, mix), runs)
        for key, pair in plan.layers.items()
    }
    predicted_N = leave_one_out_ms(sums_N2, measured_N)
    if (least_ms := float(predicted_N.min())) <= 0:
        raise InputError(
            f"measuring: expected layers that add to more than 0 ms, got {least_ms:.3g} ms: other "
            "work disturbed so short a measurement; measure for longer, on an idle machine"
        )
    ratios_N = times_in_parts([times[name] for name in plan.networks]) / predicted_N
    return LatencyTable(
        device=device,
        space=space.name,
        origin="measured",
        source=(
            "each layer behind a 1x1 convolution, less that convolution alone, "
            f"{mix.warm:.2f} x run after run + {mix.cold:.2f} x after a whole network as fitted on "
            f"the p50 of {len(ratios_N)} networks; layers: first decile of "
            f"{len(next(iter(times.values())))} rounds' medians of {runs} runs; "
            f"error of each network predicted without itself, in one of {PARTS} parts of the time"
        ),
        conditions=conditions,
        entries=entries,
        network_overhead_ms=mix.overhead_ms,
        expected_error=round(float(np.abs(1 / ratios_N - 1).mean()), 4),
        residual_ratios=tuple(np.round(ratios_N, 5).tolist()),
        notes=_drift(times),
    )


def _drift(times: Mapping[str, Floats]) -> tuple[Note, ...]:
    """Whether the machine became steadily slower or faster over the rounds: each model's visits
    compared with its own median."""
    p50_MR = np.array([visits[:, 0] for visits in times.values()])
    speed_R = np.median(p50_MR / np.median(p50_MR, axis=1, keepdims=True), axis=0)
    change = steady_change(speed_R)
    if change is None or 1 / STEADY_CHANGE < change < STEADY_CHANGE:
        return ()
    return (Note("trend", change_in_words(change, f"over its {len(speed_R)} rounds")),)


def fit_mix(sums_N2: Floats, measured_N: Floats) -> Mix:
    """The shares and the overhead that predict measured networks.

    Non-negative least squares of relative errors. It is robust (Huber 1964), so that a disturbed
    network does not dominate the fit, and has a prior, so that a few networks are enough.

    Args:
        sums_N2: milliseconds of each network's layers, warm and cold.
        measured_N: milliseconds of each network.
    """
    from scipy.optimize import nnls  # slow to import

    typical_ms = float(np.median(measured_N))
    design = np.column_stack([sums_N2, np.full(len(measured_N), typical_ms)])
    rows, target = design / measured_N[:, None], np.ones(len(measured_N))
    spread = np.array([SHARE_SPREAD, SHARE_SPREAD, OVERHEAD_SPREAD])
    prior = np.array([*PRIOR, 0.0])
    weight_N = np.full(len(measured_N), 1 / NOISE)
    for _ in range(REFITS):
        solution, _ = nnls(
            np.concatenate([rows * weight_N[:, None], np.diag(1 / spread)]),
            np.concatenate([target * weight_N, prior / spread]),
        )
        error_N = np.abs(rows @ solution - target)
        weight_N = np.sqrt(1 / np.maximum(error_N, NOISE) / NOISE)
    warm, cold, overhead = solution.tolist()
    return Mix(warm, cold, round(overhead * typical_ms, 7))


def leave_one_out_ms(sums_N2: Floats, measured_N: Floats) -> Floats:
    """Each network's time as predicted by a mix fitted to the others, (N,). A single network is
    predicted exactly."""
    predicted_N = measured_N.copy()
    for n in range(len(measured_N) if len(measured_N) > 1 else 0):
        others = np.arange(len(measured_N)) != n
        mix = fit_mix(sums_N2[others], measured_N[others])
        predicted_N[n] = sums_N2[n] @ (mix.warm, mix.cold) + mix.overhead_ms
    return predicted_N


def times_in_parts(visits: Sequence[Floats]) -> Floats:
    """The time of each network in one of `PARTS` parts of the measurement, (N,); the parts take
    turns.

    The speed of a device drifts over minutes, and each opening of a model differs by about 1 %.
    Upper bounds are compared with shorter measurements at other times, with one opening. Errors are
    therefore those of such measurements.

    Args:
        visits: (R, 2) of each network.
    """
    if len(visits[0]) < PARTS * MIN_ROUNDS_PER_PART:
        return np.array([p50_ms(each) for each in visits])
    return np.array(
        [p50_ms(np.array_split(each, PARTS)[n % PARTS]) for n, each in enumerate(visits)]
    )


def p50_ms(visits: Floats) -> float:
    """The time of a network as its user sees it: median over rounds of the visits' medians, (R, 2)
    given."""
    return float(np.median(visits[:, 0]))


def undisturbed_ms(visits: Floats) -> float:
    """The time of a chain on an idle machine: first decile over rounds of the visits' medians.

    Other work on the machine only adds time, in few rounds or in many, and moves the first decile
    less than the median. This matters for layers, which are differences. The time that other work
    adds to a network is in the whole networks' times.

    Args:
        visits: (R, 2).
    """
    return float(np.quantile(visits[:, 0], LAYER_QUANTILE))


def _layer_times(plan: BenchmarkPlan, times: Mapping[str, Floats]) -> dict[str, Floats]:
    """Milliseconds of each layer, warm and cold, (2,)."""
    undisturbed = {
        name: undisturbed_ms(visits) for name, visits in times.items() if name not in plan.networks
    }
    return {
        key: np.array(
            [
                undisturbed[state + pair.with_layer] - undisturbed[state + pair.without]
                for state in ("", COLD)
            ]
        )
        for key, pair in plan.layers.items()
    }


def _mixed(times: Mapping[str, Floats], pair: ChainPair, mix: Mix) -> Floats:
    """A layer's time in each round, (R, 2)."""
    warm = times[pair.with_layer] - times[pair.without]
    cold = times[COLD + pair.with_layer] - times[COLD + pair.without]
    mixed: Floats = mix.warm * warm + mix.cold * cold
    return mixed


def _latency(p50_ms: float, visits: Floats, runs: int) -> LayerLatency:
    """The entry of a layer; mean and spread are those of its visits, (R, 2)."""
    p50_R, mean_R = visits.T
    return LayerLatency(
        p50_ms=_rounded(p50_ms),
        mean_ms=_rounded(mean_R.mean()),
        std_ms=round(float(p50_R.std()), 7),
        count=len(p50_R) * runs,
    )


def _rounded(value_ms: float) -> float:
    return max(round(float(value_ms), 7), RESOLUTION_MS)

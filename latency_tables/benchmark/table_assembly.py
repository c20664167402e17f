"""A table from the times of chains and whole networks: what `measure` and a kit's file become.

Shapes: R rounds, N networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from latency_tables.benchmark.plan import (
    COLD,
    Chain,
    ChainPlan,
    Floats,
    LayerChains,
    Timing,
    plan_chains,
    timings,
)
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.benchmark.runner import OPENINGS
from latency_tables.table import Conditions, LatencyTable, LayerLatency
from models.errors import InputError
from models.spaces import SearchSpace, layer_plan

RESOLUTION_MS = 1e-6
"""Least latency recorded: some layers (pooling) cost less than a timer resolves."""
PRIOR = (0.5, 0.5)
"""Shares of warm and cold times that a network is thought to be made of before any was timed."""
SHARE_SPREAD, OVERHEAD_SPREAD = 0.5, 10.0
"""How far the shares may leave that, and the overhead leave 0 as a share of a network's time
(standard deviations)."""
NOISE = 0.03
"""Relative error up to which a network counts in full; beyond, its pull no longer grows."""
REFITS = 10
PARTS, LEAST_ROUNDS = OPENINGS, 5
"""Parts of a measurement, one an opening, and the rounds that each needs."""
UNDISTURBED = 0.1
"""Quantile of a layer's visits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a measurement of a space times."""

    chains: ChainPlan
    networks: Mapping[str, Chain]
    """By architecture as text."""

    @property
    def timings(self) -> dict[str, Timing]:
        """By name."""
        return timings(self.chains, self.networks)


@dataclass(frozen=True, slots=True)
class Mix:
    """A network takes `warm` times its layers' warm times, `cold` times their cold times, and
    `overhead_ms`."""

    warm: float
    cold: float
    overhead_ms: float


def plan_measurement(space: SearchSpace, options: MeasureOptions) -> Plan:
    """What to time; the same for equal spaces and options."""
    return Plan(plan_chains(space), sample_networks(space, options.networks, options.seed))


def sample_networks(space: SearchSpace, count: int, seed: int) -> dict[str, Chain]:
    """Up to `count` different random networks of `space`, by their architecture as text."""
    archs = space.decode(space.sample(count, np.random.default_rng(seed)))
    return {json.dumps(arch.to_json()): layer_plan(space, arch) for arch in archs}


def table_of(
    space: SearchSpace,
    plan: Plan,
    times: Mapping[str, Floats],
    *,
    device: str,
    conditions: Conditions,
    runs: int,
) -> LatencyTable:
    """The table of measured times.

    Args:
        times: (R, 2) milliseconds of each of `plan.timings`: median and mean of each visit.
        runs: timed runs of each visit.

    Raises:
        InputError: if the times are so disturbed that a network would take no time at all.
    """
    pairs = plan.chains.layers
    undisturbed = {
        name: undisturbed_ms(visits) for name, visits in times.items() if name not in plan.networks
    }

    def difference_ms(pair: LayerChains, state: str) -> float:
        return undisturbed[state + pair.with_layer] - undisturbed[state + pair.without]

    layers = {
        key: np.array([difference_ms(pair, ""), difference_ms(pair, COLD)])
        for key, pair in pairs.items()
    }
    measured_N = np.array([p50_ms(times[name]) for name in plan.networks])
    sums_N2 = np.array(
        [np.sum([layers[n.key] for n in network], axis=0) for network in plan.networks.values()]
    )
    mix = fit_mix(sums_N2, measured_N)
    share = np.array([mix.warm, mix.cold])
    entries = {
        key: _latency(float(share @ layers[key]), _mixed(times, pair, mix), runs)
        for key, pair in pairs.items()
    }
    expected_N = left_out_ms(sums_N2, measured_N)
    if (least_ms := float(expected_N.min())) <= 0:
        raise InputError(
            f"measuring: expected layers that add to more than 0 ms, got {least_ms:.3g} ms: other "
            "work disturbed so short a measurement; measure for longer, on an idle machine"
        )
    ratios_N = seen_in_parts([times[name] for name in plan.networks]) / expected_N
    rounds = len(next(iter(times.values())))
    return LatencyTable(
        device=device,
        space=space.name,
        origin="measured",
        source=(
            "each layer behind a 1x1 convolution, less that convolution alone, "
            f"{mix.warm:.2f} x run after run + {mix.cold:.2f} x after a whole network as fitted on "
            f"the p50 of {len(ratios_N)} networks; layers: first decile of {rounds} rounds' "
            f"medians of {runs} runs; "
            f"error of each network predicted without itself, in one of {PARTS} parts of the time"
        ),
        conditions=conditions,
        entries=entries,
        network_overhead_ms=mix.overhead_ms,
        expected_error=round(float(np.abs(1 / ratios_N - 1).mean()), 4),
        residual_ratios=tuple(np.round(ratios_N, 5).tolist()),
    )


def fit_mix(sums_N2: Floats, measured_N: Floats) -> Mix:
    """Shares of warm and cold times, and overhead, of measured networks.

    Non-negative least squares of relative errors, made robust after Huber 1964 (a network that
    was disturbed must not rule the fit), held near `PRIOR` so that a few networks do.

    Args:
        sums_N2: milliseconds of each network's layers, warm and cold.
        measured_N: milliseconds of each network.
    """
    typical_ms = float(np.median(measured_N))
    design = np.column_stack([sums_N2, np.full(len(measured_N), typical_ms)])
    rows, target = design / measured_N[:, None], np.ones(len(measured_N))
    spread = np.array([SHARE_SPREAD, SHARE_SPREAD, OVERHEAD_SPREAD])
    prior = np.array([*PRIOR, 0.0])
    weight_N = np.full(len(measured_N), 1 / NOISE)
    for _ in range(REFITS):
        found, _ = nnls(
            np.concatenate([rows * weight_N[:, None], np.diag(1 / spread)]),
            np.concatenate([target * weight_N, prior / spread]),
        )
        off_N = np.abs(rows @ found - target)
        weight_N = np.sqrt(1 / np.maximum(off_N, NOISE) / NOISE)
    warm, cold, overhead = found.tolist()
    return Mix(warm, cold, round(overhead * typical_ms, 7))


def left_out_ms(sums_N2: Floats, measured_N: Floats) -> Floats:
    """Predicted time of each network, by a mix fitted to the others, (N,); one alone as it is."""
    predicted_N = measured_N.copy()
    for n in range(len(measured_N) if len(measured_N) > 1 else 0):
        others = np.arange(len(measured_N)) != n
        mix = fit_mix(sums_N2[others], measured_N[others])
        predicted_N[n] = sums_N2[n] @ (mix.warm, mix.cold) + mix.overhead_ms
    return predicted_N


def seen_in_parts(visits: Sequence[Floats]) -> Floats:
    """The time of each network as one of `PARTS` parts of the measurement saw it, (N,).

    What a device does drifts over minutes, and a network opened anew is faster or slower by a
    hundredth. Bounds are held against shorter measurements at other times, of one opening, so
    errors are of such, each network's of the next part in turn.

    Args:
        visits: of each network, (R, 2).
    """
    if len(visits[0]) < PARTS * LEAST_ROUNDS:
        return np.array([p50_ms(each) for each in visits])
    return np.array(
        [p50_ms(np.array_split(each, PARTS)[n % PARTS]) for n, each in enumerate(visits)]
    )


def p50_ms(visits: Floats) -> float:
    """What a user of a model sees: median over rounds of the visits' medians; (R, 2) given."""
    return float(np.median(visits[:, 0]))


def undisturbed_ms(visits: Floats) -> float:
    """First decile over rounds of the visits' medians; `visits` is (R, 2).

    For layers, where differences count: a neighbour on the machine only ever adds time, for many
    rounds or for few, and moves this less than the median. Whole networks say what it adds.
    """
    return float(np.quantile(visits[:, 0], UNDISTURBED))


def _mixed(times: Mapping[str, Floats], pair: LayerChains, mix: Mix) -> Floats:
    """A layer's time in each round, (R, 2)."""
    warm = times[pair.with_layer] - times[pair.without]
    cold = times[COLD + pair.with_layer] - times[COLD + pair.without]
    mixed: Floats = mix.warm * warm + mix.cold * cold
    return mixed


def _latency(p50_ms: float, visits: Floats, runs: int) -> LayerLatency:
    """A layer's latency, of which networks are the sum, and its spread over rounds, (R, 2)."""
    p50_R, mean_R = visits.T
    return LayerLatency(
        p50_ms=_recorded(p50_ms),
        mean_ms=_recorded(mean_R.mean()),
        std_ms=round(float(p50_R.std()), 7),
        count=len(p50_R) * runs,
    )


def _recorded(value_ms: float) -> float:
    return max(round(float(value_ms), 7), RESOLUTION_MS)

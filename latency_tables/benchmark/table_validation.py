"""Does the sum over layers predict whole networks? Measured, not assumed.

Shapes: N networks.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import islice

import numpy as np

from latency_tables.benchmark import measure
from latency_tables.benchmark.models import TensorsFor, random_tensors
from latency_tables.benchmark.plan import Floats, Timing
from latency_tables.benchmark.rounds import MeasureOptions, OnProgress, Stopwatch, time_chains
from latency_tables.benchmark.table_assembly import p50_ms, sample_networks
from latency_tables.runtimes import DEFAULT_RUNTIME, runtime_names
from latency_tables.table import ALIKE, Conditions, LatencyTable
from models.errors import InputError
from models.spaces import SearchSpace


@dataclass(frozen=True, slots=True, eq=False)
class Additivity:
    """Whole networks: what a table predicts and what a clock says, milliseconds, (N,).

    Errors are of both as they stand. What a device does drifts between a measurement and its check;
    `drift` says how far it went.
    """

    archs: tuple[str, ...]
    """Each network's architecture as JSON text."""
    predicted_ms: Floats
    measured_ms: Floats
    conditions: Conditions
    """Under what was measured."""
    drift: float = 1.0
    """Times as long as the table says, the median of networks that are not among the N."""

    @property
    def relative_error(self) -> Floats:
        """|predicted - measured| / measured of each network, (N,)."""
        error: Floats = np.abs(self.predicted_ms - self.measured_ms) / self.measured_ms
        return error

    @property
    def mean_error(self) -> float:
        """Mean relative error."""
        return float(self.relative_error.mean())

    def share_within(self, tolerance: float) -> float:
        """Share of networks whose relative error is at most `tolerance`."""
        return float((self.relative_error <= tolerance).mean())

    def share_below(self, factor: float) -> float:
        """Share of networks that take at most `factor` times what was predicted."""
        return float((self.measured_ms <= factor * self.predicted_ms).mean())

    def without_drift(self) -> Additivity:
        """The same networks on a device as slow as when the table was measured: errors that are the
        table's own."""
        return dataclasses.replace(self, measured_ms=self.measured_ms / self.drift, drift=1.0)


def check_additivity(
    space: SearchSpace,
    table: LatencyTable,
    *,
    count: int = 40,
    references: int = 20,
    seed: int = 1,
    tensors_for: TensorsFor = random_tensors,
    options: MeasureOptions | None = None,
    stopwatch: Stopwatch | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Additivity:
    """Time `count` random networks of `space` whole and compare them with `table`.

    Args:
        references: further networks, which tell the drift; with 0 it is taken for none.
        seed: which networks; take another than the measurement's, whose networks calibrated it.
        options: how long and how to time; the table's threads and batch are used.

    Raises:
        InputError: the table is of another machine, or of another way to run networks; or the
            space has fewer networks.
        NotFound: `table` lacks a layer of one of the networks.
    """
    conditions = table.conditions
    options = options or MeasureOptions(target_s=20.0)
    known = conditions.runtime in runtime_names()
    options = dataclasses.replace(
        options,
        openings=1,  # as a model is that someone runs
        runtime=conditions.runtime if known else DEFAULT_RUNTIME,
        provider=conditions.provider if known else None,
        threads=conditions.threads or 1,
        batch=conditions.batch,
        precision=conditions.precision,
    )
    stopwatch = stopwatch or measure.RuntimeStopwatch(tensors_for, options)
    here = stopwatch.conditions
    if not conditions.alike(here):
        differing = "; ".join(
            f"{name} {getattr(conditions, name) or 'not stated'}, here {getattr(here, name)}"
            for name in ALIKE
            if getattr(conditions, name) != getattr(here, name)
        )
        raise InputError(
            f"device {table.device!r}: its table is of another machine or way to run networks "
            f"({differing}): check it there, or measure this machine under a name of its own"
        )
    drawn = sample_networks(space, 2 * (count + references), seed)  # some of them twice
    networks = dict(islice(drawn.items(), count + references))
    if (most := len(networks) - references) < count:
        raise InputError(
            f"space {space.name}: expected {count} different networks and {references} for the "
            f"drift, got {len(networks)}; ask for at most {max(most, 0)}"
        )
    predicted = np.array([table.network_ms(network) for network in networks.values()])
    timings = {name: Timing(network) for name, network in networks.items()}
    visits = time_chains(timings, stopwatch, options, on_progress)
    measured = np.array([p50_ms(visits[name]) for name in networks])
    longer = measured[count:] / predicted[count:]
    return Additivity(
        tuple(networks)[:count],
        predicted[:count],
        measured[:count],
        conditions=here,
        drift=float(np.median(longer)) if references else 1.0,
    )

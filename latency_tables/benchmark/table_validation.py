"""How well a table predicts whole networks that are timed now.

Shapes: N networks.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from latency_tables.benchmark import measure
from latency_tables.benchmark.models import TensorsFor, random_tensors
from latency_tables.benchmark.plan import Timing, sample_networks
from latency_tables.benchmark.rounds import MeasureOptions, Stopwatch, time_chains
from latency_tables.benchmark.runner import Floats, OnProgress
from latency_tables.benchmark.speed import at_usual_speed
from latency_tables.benchmark.table_assembly import p50_ms
from latency_tables.runtimes import DEFAULT_RUNTIME, runtime_names
from latency_tables.table import Conditions, LatencyTable, Sitting, differing_conditions
from models.errors import InputError
from models.spaces import Arch, SearchSpace, layer_plan


@dataclass(frozen=True, slots=True, eq=False)
class TableValidation:
    """Predicted and measured times of whole networks, milliseconds, (N,).

    The errors include the drift of the device between the measurement of the table and now.
    """

    archs: tuple[str, ...]
    """Each network's architecture as JSON text."""
    predicted_ms: Floats
    measured_ms: Floats
    conditions: Conditions
    """Those of the measured times."""
    drift: float = 1.0
    """Median of measured over predicted time of other networks than these N."""
    searched: TableValidation | None = None
    """The same of networks drawn as searches draw them, if there were any."""
    sitting: Sitting | None = None
    """What the table keeps of it all."""

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

    def without_drift(self) -> TableValidation:
        """The measured times divided by the drift: the errors that remain are the table's own."""
        return dataclasses.replace(
            self, measured_ms=self.measured_ms / self.drift, drift=1.0, searched=None
        )


def validate_table(
    space: SearchSpace,
    table: LatencyTable,
    *,
    count: int = 40,
    references: int = 20,
    searched: Sequence[Arch] = (),
    seed: int = 1,
    tensors_for: TensorsFor = random_tensors,
    options: MeasureOptions | None = None,
    stopwatch: Stopwatch | None = None,
    on_progress: OnProgress = lambda share, doing="": None,
) -> TableValidation:
    """Time `count` random networks of `space` whole and compare them with `table`.

    Args:
        references: further networks that tell the drift; with 0, the drift is 1.
        searched: different networks to time as well, drawn as searches draw them.
        seed: of the networks; another one than the measurement's, which is calibrated on its own
            networks.
        options: how long and how to time; runtime, provider, threads, batch and precision are the
            table's.

    Raises:
        InputError: the table has other conditions than this machine, or the space has fewer
            networks.
        NotFound: `table` lacks a layer of one of the networks.
    """
    options = _options(table.conditions, options or MeasureOptions(target_s=20.0))
    stopwatch = stopwatch or measure.RuntimeStopwatch(options, tensors_for)
    here = stopwatch.conditions
    check_alike(table, here)
    drawn = sample_networks(space, 2 * (count + references), seed)  # duplicates are dropped
    networks = dict(islice(drawn.items(), count + references))
    if (most := len(networks) - references) < count:
        raise InputError(
            f"space {space.name}: expected {count} different networks and {references} for the "
            f"drift, got {len(networks)}; ask for at most {max(most, 0)}"
        )
    chosen = {json.dumps(arch.to_json()): layer_plan(space, arch) for arch in searched}
    together = {**networks, **chosen}
    timings = {name: Timing(network) for name, network in together.items()}
    visits = at_usual_speed(
        time_chains(timings, stopwatch, options, on_progress), seed=options.seed
    )
    measured = {name: p50_ms(visits[name]) for name in together}
    predicted = {name: table.network_ms(network) for name, network in together.items()}
    return _compared(list(networks), list(chosen), count, predicted, measured, here)


def _compared(
    drawn: Sequence[str],
    searched: Sequence[str],
    count: int,
    predicted: Mapping[str, float],
    measured: Mapping[str, float],
    here: Conditions,
) -> TableValidation:
    """The comparison of `count` of the networks drawn at random, and of the searched ones; the
    drift is that of the others."""

    def ratios(names: Sequence[str]) -> list[float]:
        return [round(measured[name] / predicted[name], 5) for name in names]

    def seen(names: Sequence[str], **further: Any) -> TableValidation:
        return TableValidation(
            tuple(names),
            np.array([predicted[name] for name in names]),
            np.array([measured[name] for name in names]),
            conditions=here,
            drift=float(np.median(ratios(drawn[count:]))) if drawn[count:] else 1.0,
            **further,
        )

    sitting = Sitting(
        measured_at=here.measured_at or datetime.now(UTC).isoformat(timespec="seconds"),
        networks=len(drawn),
        ratio=round(float(np.median(ratios(drawn))), 5),
        searched_ratios=tuple(ratios(searched)),
    )
    return seen(drawn[:count], searched=seen(searched) if searched else None, sitting=sitting)


def _options(conditions: Conditions, options: MeasureOptions) -> MeasureOptions:
    """`options` under a table's conditions; under the default runtime if theirs is not known."""
    known = conditions.runtime in runtime_names()
    return dataclasses.replace(
        options,
        openings=1,  # a user opens a model once
        runtime=conditions.runtime if known else DEFAULT_RUNTIME,
        provider=conditions.provider if known else None,
        io=conditions.io or "host",
        threads=conditions.threads or 1,
        batch=conditions.batch,
        precision=conditions.precision,
    )


def check_alike(table: LatencyTable, here: Conditions) -> None:
    """Refuse to compare a table with times of another machine or way to run networks.

    Raises:
        InputError: naming what differs.
    """
    there = table.conditions
    if names := differing_conditions(there.to_json(), here.to_json()):
        differing = "; ".join(
            f"{name} {getattr(there, name) or 'not stated'}, here {getattr(here, name)}"
            for name in names
        )
        raise InputError(
            f"device {table.device!r}: its table is of another machine or way to run networks "
            f"({differing}): check it there, or measure this machine under a name of its own"
        )

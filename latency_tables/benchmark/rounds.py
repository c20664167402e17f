"""The options of a measurement, and the times of its chains in rounds.

Shapes: R rounds.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from latency_tables.benchmark.open_models import IO, TimedRuns
from latency_tables.benchmark.plan import Chain, Timing
from latency_tables.benchmark.runner import (
    OPENINGS,
    Floats,
    OnProgress,
    Partial,
    Rounds,
    Say,
    WrongPartial,
    time_rounds,
)
from latency_tables.runtimes import DEFAULT_RUNTIME
from latency_tables.table import Conditions, check_name
from models.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """How to measure. The defaults take about four minutes for any space of small images."""

    device: str = "host"
    target_s: float = 240.0
    """Time for opening the models and for rounds, seconds; 0: as little as a table needs. The last
    round starts before it is over."""
    min_rounds: int = 10
    warmup: int = 2
    """Untimed runs at the start of each visit of a warm chain."""
    runs: int = 4
    """Timed runs of each visit."""
    runtime: str = DEFAULT_RUNTIME
    provider: str | None = None
    """Of the runtime, with its options; None: its usual one."""
    io: str = "host"
    """Where input and output lie: host or device."""
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    """fp32 or int8; at int8, each model is quantized as a delivered one is."""
    networks: int = 40
    """Whole networks to time. They show how cold the caches are inside a network; each one is also
    predicted from the others, for `expected_error` and upper bounds."""
    seed: int = 0
    openings: int = OPENINGS
    """How often all models are opened again, spread over the time; less often where it is dear."""
    partial: Path | None = None
    """File with the finished rounds, from which an interrupted measurement resumes."""

    @property
    def models(self) -> Path | None:
        """Folder beside `partial` for models that take long to make."""
        return None if self.partial is None else self.partial.with_suffix(".models")

    def __post_init__(self) -> None:
        check_name(self.device, "device")
        for field in ("min_rounds", "runs", "threads", "batch", "networks", "openings"):
            if getattr(self, field) < 1:
                raise InputError(f"{field}: expected at least 1, got {getattr(self, field)}")
        for field in ("target_s", "warmup", "seed"):
            if not getattr(self, field) >= 0:
                raise InputError(f"{field}: expected at least 0, got {getattr(self, field)}")
        if self.io not in IO:
            raise InputError(f"io: expected {' or '.join(IO)}, got {self.io!r}")
        if self.precision not in ("fp32", "int8"):
            raise InputError(f"precision: expected fp32 or int8, got {self.precision!r}")

    @property
    def rounds(self) -> Rounds:
        """The runner's part of the options."""
        return Rounds(
            self.target_s, self.min_rounds, self.warmup, self.runs, self.seed, self.openings
        )


class Stopwatch(Protocol):
    """Times chains of layers under fixed conditions."""

    @property
    def conditions(self) -> Conditions:
        """The conditions of its times."""
        ...

    def make_models(self, chains: Iterable[Chain], on_progress: OnProgress, /) -> None:
        """Make those models that take long to make: it is no part of the time to measure for."""
        ...

    def prepare(self, chain: Chain, /, after: Chain | None = None) -> TimedRuns:
        """Open the model of `chain`; each timed run follows a run of `after`, if that is given."""
        ...


def time_chains(
    timings: Mapping[str, Timing],
    stopwatch: Stopwatch,
    options: MeasureOptions,
    on_progress: OnProgress = lambda share, doing="": None,
    clock: Callable[[], float] = time.monotonic,
    say: Say = lambda text: None,
) -> dict[str, Floats]:
    """Time all of them in rounds until `options.target_s` is over.

    Returns:
        (R, 2) milliseconds by name: median and mean of each round's visit.

    Raises:
        InputError: the partial file is damaged, or of another measurement.
    """
    partial = Partial(options.partial, _fingerprint(timings, stopwatch.conditions, options))
    stopwatch.make_models((timing.chain for timing in timings.values()), on_progress)
    try:
        return time_rounds(
            list(timings),
            lambda name: stopwatch.prepare(timings[name].chain, timings[name].after),
            options.rounds,
            partial,
            on_progress,
            clock,
            say=say,
            models_of=lambda name: filter(None, (timings[name].chain, timings[name].after)),
        )
    except WrongPartial as error:
        raise InputError(str(error)) from error


def _fingerprint(
    timings: Mapping[str, Timing], conditions: Conditions, options: MeasureOptions
) -> str:
    what = [
        {
            name: [[layer.key for layer in chain] for chain in (timing.chain, timing.after or ())]
            for name, timing in timings.items()
        },
        [conditions.runtime, conditions.runtime_version, conditions.processor],
        [conditions.provider, conditions.precision, conditions.io],
        [options.threads, options.batch, options.warmup, options.runs, options.seed],
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()

"""Time many chains of layers in rounds, so that all of them meet the same machine.

Every chain is visited once a round, in random order: a few runs to warm up, a few timed. Rounds
go on for a given time. A clock that drifts or a neighbour that wakes up then meets all chains
alike. Finished rounds are kept in a file, if there is one, and taken up from there.

Shapes: R rounds.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from latency_tables.chains import Chain, Floats
from latency_tables.store import write_atomically
from latency_tables.table import Conditions, check_name
from models.errors import InputError

OnProgress = Callable[[float], None]
"""Called with the share done, 0..1, never falling."""
TimedRuns = Callable[[int, int], Floats]
"""(untimed runs, timed runs) -> milliseconds of each timed run."""
Visits = dict[str, list[tuple[float, float]]]

MAX_ROUNDS = 2000
SAVE_EVERY_S = 10.0
PREPARING = 0.1
"""Share of the progress for making the chains ready to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """How to measure. The defaults take about four minutes for any space of small images."""

    device: str = "host"
    target_s: float = 240.0
    """Time to spend in rounds, seconds; one more round starts before it is over."""
    min_rounds: int = 10
    warmup: int = 2
    """Untimed runs at the start of each visit."""
    runs: int = 10
    """Timed runs of each visit."""
    threads: int = 1
    batch: int = 1
    calibrate: int = 12
    """Whole networks that fit `network_overhead_ms`."""
    check: int = 20
    """Other whole networks that give `expected_error`."""
    seed: int = 0
    partial: Path | None = None
    """File that keeps finished rounds, so that a measurement cut off can go on; a finished one
    removes it."""

    def __post_init__(self) -> None:
        check_name(self.device, "device")
        for field in ("min_rounds", "runs", "threads", "batch", "calibrate"):
            if getattr(self, field) < 1:
                raise InputError(f"{field}: expected at least 1, got {getattr(self, field)}")
        for field in ("target_s", "warmup", "check", "seed"):
            if not getattr(self, field) >= 0:
                raise InputError(f"{field}: expected at least 0, got {getattr(self, field)}")


class Stopwatch(Protocol):
    """Times chains of layers under fixed conditions."""

    @property
    def conditions(self) -> Conditions:
        """Under what it measures."""
        ...

    def prepare(self, chain: Chain, /) -> TimedRuns:
        """Make `chain` ready to run again and again."""
        ...


def time_chains(
    chains: Mapping[str, Chain],
    stopwatch: Stopwatch,
    options: MeasureOptions,
    on_progress: OnProgress = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Floats]:
    """Time every chain in rounds until `options.target_s` is over.

    Returns:
        (R, 2) milliseconds a chain: median and mean of each round's visit.

    Raises:
        InputError: the partial file is damaged, or of another measurement.
    """
    partial = _Partial(options.partial, chains, stopwatch.conditions, options)
    visits, spent_s = partial.load()
    prepared: dict[str, TimedRuns] = {}
    for index, (name, chain) in enumerate(chains.items()):
        prepared[name] = stopwatch.prepare(chain)
        on_progress(PREPARING * (index + 1) / len(chains))

    names = list(chains)
    saved_s = spent_s
    for done in range(len(visits[names[0]]), MAX_ROUNDS):
        if done >= options.min_rounds and spent_s >= options.target_s:
            break
        start = clock()
        for index in np.random.default_rng([options.seed, done]).permutation(len(names)):
            times = prepared[names[index]](options.warmup, options.runs)
            visits[names[index]].append((float(np.median(times)), float(times.mean())))
        spent_s += clock() - start
        if spent_s - saved_s >= SAVE_EVERY_S:
            partial.save(visits, spent_s)
            saved_s = spent_s
        share = min((done + 1) / options.min_rounds, spent_s / max(options.target_s, 1e-9), 1)
        on_progress(PREPARING + (1 - PREPARING) * share)
    return {name: np.array(rows) for name, rows in visits.items()}


class _Partial:
    """Finished rounds in a file, tied by a fingerprint to one measurement."""

    def __init__(
        self,
        path: Path | None,
        chains: Mapping[str, Chain],
        conditions: Conditions,
        options: MeasureOptions,
    ) -> None:
        self.path = path
        self.names = list(chains)
        what = [
            {name: [layer.key for layer in chain] for name, chain in chains.items()},
            [conditions.runtime, conditions.runtime_version, conditions.processor],
            [options.threads, options.batch, options.warmup, options.runs, options.seed],
        ]
        self.fingerprint = hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def load(self) -> tuple[Visits, float]:
        """Rounds so far (none without a file) and the seconds spent on them."""
        if self.path is None or not self.path.exists():
            return {name: [] for name in self.names}, 0.0
        try:
            stored = json.loads(self.path.read_bytes())
            fingerprint, spent_s = stored["fingerprint"], float(stored["spent_s"])
            visits = {
                name: [(float(p50), float(mean)) for p50, mean in stored["visits"][name]]
                for name in (self.names if fingerprint == self.fingerprint else ())
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path}: expected finished rounds of a measurement, got a damaged file "
                f"({type(error).__name__}: {error}); remove it to start over"
            ) from error
        if fingerprint != self.fingerprint or len({len(rows) for rows in visits.values()}) != 1:
            raise InputError(
                f"{self.path}: expected rounds of this space, machine, runtime and options, got "
                "those of another measurement; remove it to start over"
            )
        return visits, spent_s

    def save(self, visits: Visits, spent_s: float) -> None:
        if self.path is not None:
            content = {"fingerprint": self.fingerprint, "spent_s": spent_s, "visits": visits}
            write_atomically(self.path, json.dumps(content).encode())


def median_ms(visits: Floats) -> float:
    """Median over rounds of the visits' medians; `visits` is (R, 2)."""
    return float(np.median(visits[:, 0]))

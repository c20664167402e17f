"""Times of a finished model where it will run."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions
from models.errors import InputError

VISITS, WARMUP, RUNS = 10, 5, 20
MAX_S = 2.0
"""No further visit starts after this time."""

Floats = npt.NDArray[np.float64]


class Timer(Protocol):
    """Times models under stated conditions."""

    def conditions(self, runtime: str, provider: str | None, threads: int) -> Conditions | None:
        """The conditions of an inference at fp32; None without that runtime or provider."""
        ...

    def times_ms(self, model: bytes, conditions: Conditions) -> Floats:
        """Milliseconds of single runs, (visits, runs); the runs of a visit follow one another."""
        ...


class HostTimer:
    """Times models with the runtimes of this machine."""

    def conditions(self, runtime: str, provider: str | None, threads: int) -> Conditions | None:
        """The conditions of this machine, now."""
        from latency_tables.benchmark import host_conditions

        try:
            return host_conditions(runtime, provider=provider, threads=threads)
        except InputError:  # NotFound too
            return None

    def times_ms(self, model: bytes, conditions: Conditions) -> Floats:
        """Up to `VISITS` visits, as many as `MAX_S` allows."""
        from latency_tables.benchmark import timed_model

        run = timed_model(
            model,
            runtime=conditions.runtime,
            provider=conditions.provider,
            threads=conditions.threads or 1,
            batch=conditions.batch,
            precision=conditions.precision,
        )
        visits, started = [run(WARMUP, RUNS)], time.monotonic()
        while len(visits) < VISITS and time.monotonic() - started < MAX_S:
            visits.append(run(WARMUP, RUNS))
        return np.stack(visits)

"""Time a finished model on the host that will run it."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions

VISITS, WARMUP, RUNS = 10, 5, 20
MAX_S = 2.0
"""No further visit starts after this time."""

Floats = npt.NDArray[np.float64]


class Timer(Protocol):
    """Times models under stated conditions."""

    def conditions(self, threads: int) -> Conditions:
        """The conditions under which an inference with so many threads is timed."""
        ...

    def times_ms(self, model: bytes, threads: int) -> Floats:
        """Milliseconds of single runs, (visits, runs); the runs of a visit follow one another."""
        ...


class HostTimer:
    """Times models with ONNX Runtime on this machine."""

    def conditions(self, threads: int) -> Conditions:
        """The conditions of this machine, now."""
        from latency_tables.benchmark import OrtStopwatch, random_tensors

        return OrtStopwatch(random_tensors, threads=threads).conditions

    def times_ms(self, model: bytes, threads: int) -> Floats:
        """Up to `VISITS` visits, as many as `MAX_S` allows."""
        from latency_tables.benchmark import timed_session

        run = timed_session(model, threads=threads)
        visits, started = [run(WARMUP, RUNS)], time.monotonic()
        while len(visits) < VISITS and time.monotonic() - started < MAX_S:
            visits.append(run(WARMUP, RUNS))
        return np.stack(visits)

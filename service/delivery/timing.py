"""Times of a finished model where it will run."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions

VISITS, WARMUP, RUNS = 10, 5, 20
MOST_S = 2.0
"""No further visit starts after so long."""

Floats = npt.NDArray[np.float64]


class Timer(Protocol):
    """Times models where they will run."""

    def conditions(self, threads: int) -> Conditions:
        """Under what it times an inference of so many threads."""
        ...

    def times_ms(self, model: bytes, threads: int) -> Floats:
        """Times of single runs, (visits, runs), those of one visit in a row."""
        ...


class HostTimer:
    """ONNX Runtime on this machine."""

    def conditions(self, threads: int) -> Conditions:
        """This machine, now."""
        from latency_tables.benchmark import OrtStopwatch, random_tensors

        return OrtStopwatch(random_tensors, threads=threads).conditions

    def times_ms(self, model: bytes, threads: int) -> Floats:
        """Several visits, as many as there is time for."""
        from latency_tables.benchmark import timed_session

        run = timed_session(model, threads=threads)
        visits, started = [run(WARMUP, RUNS)], time.monotonic()
        while len(visits) < VISITS and time.monotonic() - started < MOST_S:
            visits.append(run(WARMUP, RUNS))
        return np.stack(visits)

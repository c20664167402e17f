"""Models that a runtime has open on this machine, timed; and the conditions of their times.

This file imports nothing of its project: a measuring kit carries it.
"""

from __future__ import annotations

import inspect
import platform
import weakref
from collections.abc import Callable, Hashable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from latency_tables.runtimes import OpenModel, Runtime

Key = TypeVar("Key", bound=Hashable)
Floats = npt.NDArray[np.float64]
TimedRuns = Callable[[int, int], Floats]
"""(untimed runs, timed runs) -> milliseconds of each timed run."""
IO = ("host", "device")
"""Where input and output of a timed inference lie."""


def timed_runs(model: OpenModel, after: OpenModel | None = None) -> TimedRuns:
    """A function that times `model`; each timed run follows a run of `after`, if that is given."""

    def timed(warmup: int, runs: int) -> Floats:
        for _ in range(warmup if after is None else 0):
            model.run()
        times_ms = np.empty(runs)
        for index in range(runs):
            if after is not None:
                after.run()
            times_ms[index] = model.time_ms()
        return times_ms

    return timed


def open_model(
    runtime: Runtime, model: bytes, *, provider: str | None, threads: int, batch: int, io: str
) -> OpenModel:
    """A model as a runtime opens it.

    Raises:
        ValueError: the provider does not run it, or the runtime has no memory for such io.
    """
    if io not in IO:
        raise ValueError(f"io: expected {' or '.join(IO)}, got {io!r}")
    if io == "host":
        return runtime.open(model, provider=provider, threads=threads, batch=batch)
    if "io" not in inspect.signature(runtime.open).parameters:
        raise ValueError(
            f"io: expected 'host', since runtime {runtime.name!r} keeps input and output in this "
            f"machine's memory, got {io!r}"
        )
    return runtime.open(model, provider=provider, threads=threads, batch=batch, io=io)


class OpenModels(Generic[Key]):
    """Models by key that are open while somebody holds them, each opened once and run once: some
    runtimes search for the algorithms of a model at its first run."""

    def __init__(self, open_one: Callable[[Key], OpenModel]) -> None:
        self._open_one = open_one
        self._models: weakref.WeakValueDictionary[Key, OpenModel] = weakref.WeakValueDictionary()
        self._ran_on: set[str] = set()

    def get(self, key: Key) -> OpenModel:
        """The model of a key, opened now unless it is open."""
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = self._open_one(key)
            model.run()
            if (provider := getattr(model, "ran_on", None)) is not None:
                self._ran_on.add(provider)
        return model

    @property
    def ran_on(self) -> str | None:
        """What ran the models, where their runtime tells."""
        return ", ".join(sorted(self._ran_on)) or None


def host_conditions(
    runtime: Runtime, provider: str | None, threads: int, io: str = "host"
) -> dict[str, Any]:
    """The conditions of a measurement with a runtime on this machine, now.

    Raises:
        ValueError: if the runtime lacks the provider here.
    """
    return {
        "processor": processor(),
        **runtime.conditions(provider, threads),
        "io": io,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017
    }


def processor() -> str:
    """The processor's name as its maker gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.processor() or platform.machine()

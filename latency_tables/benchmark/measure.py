"""Measure a latency table on this machine with ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

from latency_tables.benchmark.models import TensorsFor, chain_model, random_tensors
from latency_tables.benchmark.plan import Chain
from latency_tables.benchmark.rounds import (
    MeasureOptions,
    OnProgress,
    Stopwatch,
    TimedRuns,
    time_chains,
)
from latency_tables.benchmark.runner import (
    DEFAULT_PROVIDER,
    Run,
    check_provider,
    here,
    open_session,
    timed_runs,
)
from latency_tables.benchmark.table_assembly import plan_measurement, table_of
from latency_tables.table import Conditions, LatencyTable
from models.errors import InputError
from models.machine import write_atomically
from models.spaces import SearchSpace

__all__ = ["OrtStopwatch", "measure_space", "random_tensors", "timed_session"]


class OrtStopwatch:
    """Sequential execution of one session of ONNX Runtime, default optimizations."""

    def __init__(
        self,
        tensors_for: TensorsFor,
        *,
        provider: str = DEFAULT_PROVIDER,
        threads: int = 1,
        batch: int = 1,
        precision: str = "fp32",
        models: Path | None = None,
    ) -> None:
        """
        Args:
            models: a folder that keeps models which take long to make, so that a measurement that
                goes on does not make them again.

        Raises:
            InputError: if ONNX Runtime does not have `provider` here.
        """
        try:
            check_provider(provider)
        except ValueError as error:
            raise InputError(str(error)) from error
        self._tensors_for, self._models = tensors_for, models
        self._provider, self._threads, self._batch = provider, threads, batch
        self._precision = precision
        self._runs: WeakValueDictionary[Chain, Run] = WeakValueDictionary()
        self._quantized: dict[Chain, bytes] = {}

    @property
    def conditions(self) -> Conditions:
        """This machine, now."""
        return Conditions(
            runtime="onnxruntime",
            precision=cast(Any, self._precision),
            batch=self._batch,
            **here(self._provider, self._threads),
        )

    def prepare(self, chain: Chain, /, after: Chain | None = None) -> TimedRuns:
        """Build a session for `chain`, with random weights for a lead; one that is still in use
        serves again."""
        return timed_runs(self._run(chain), None if after is None else self._run(after))

    def _run(self, chain: Chain) -> Run:
        run = self._runs.get(chain)
        if run is None:
            run = self._runs[chain] = open_session(
                self._model(chain),
                provider=self._provider,
                threads=self._threads,
                batch=self._batch,
            )
        return run

    def _model(self, chain: Chain) -> bytes:
        if self._precision == "fp32":
            return chain_model(chain, self._tensors_for, self._precision)
        if self._models is None:
            if chain not in self._quantized:
                self._quantized[chain] = chain_model(chain, self._tensors_for, self._precision)
            return self._quantized[chain]
        content = repr((self._precision, chain)).encode()
        path = self._models / f"{hashlib.sha256(content).hexdigest()}.onnx"
        if not path.exists():
            self._models.mkdir(parents=True, exist_ok=True)
            write_atomically(path, chain_model(chain, self._tensors_for, self._precision))
        return path.read_bytes()


def timed_session(model: bytes, *, threads: int = 1, batch: int = 1) -> TimedRuns:
    """Times of a model of this project on random input; also of whole exported networks."""
    return timed_runs(open_session(model, threads=threads, batch=batch))


def measure_space(
    space: SearchSpace,
    tensors_for: TensorsFor = random_tensors,
    options: MeasureOptions | None = None,
    on_progress: OnProgress = lambda _: None,
    *,
    stopwatch: Stopwatch | None = None,
) -> LatencyTable:
    """Measure every layer that networks of `space` can have.

    The partial file, if the options name one, stays for the caller to remove.

    Args:
        tensors_for: weights of given layers, by the names of an extracted subnet's state.
        on_progress: called with the share done, 0..1, never falling.
        stopwatch: what times a chain; ONNX Runtime on this machine unless given.

    Raises:
        InputError: the partial file is damaged, or of another measurement, or ONNX Runtime lacks
            the provider.
    """
    options = options or MeasureOptions()
    stopwatch = stopwatch or OrtStopwatch(
        tensors_for,
        provider=options.provider,
        threads=options.threads,
        batch=options.batch,
        precision=options.precision,
        models=options.models,
    )
    plan = plan_measurement(space, options)
    times = time_chains(plan.timings, stopwatch, options, on_progress)
    return table_of(
        space,
        plan,
        times,
        device=options.device,
        conditions=stopwatch.conditions,
        runs=options.runs,
    )

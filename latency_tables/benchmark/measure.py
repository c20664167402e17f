"""Measure a latency table on this machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from latency_tables.benchmark import open_models
from latency_tables.benchmark.models import TensorsFor, chain_model, random_tensors
from latency_tables.benchmark.open_models import OpenModels, TimedRuns
from latency_tables.benchmark.plan import Chain, plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions, Stopwatch, time_chains
from latency_tables.benchmark.runner import OPENINGS, Floats, OnProgress, Say
from latency_tables.benchmark.table_assembly import assemble_table
from latency_tables.runtimes import DEFAULT_RUNTIME, OpenModel, find_runtime
from latency_tables.table import Conditions, LatencyTable
from models.errors import InputError
from models.machine import write_atomically
from models.spaces import SearchSpace

VISITS_OF_A_MODEL = 100
"""Most visits of a single model: 400 runs, enough for a p99."""


def host_conditions(
    runtime: str = DEFAULT_RUNTIME,
    *,
    provider: str | None = None,
    threads: int = 1,
    batch: int = 1,
    precision: str = "fp32",
    io: str = "host",
) -> Conditions:
    """This machine, now, under a runtime.

    Raises:
        NotFound: no such runtime is registered.
        InputError: the runtime lacks the provider here.
    """
    chosen = find_runtime(runtime)
    try:
        fields = open_models.host_conditions(chosen, provider, threads, io)
    except ValueError as error:
        raise InputError(str(error)) from error
    # The numbers' checks are those of the table.
    return Conditions(runtime=runtime, precision=cast(Any, precision), batch=batch, **fields)


def timed_model(
    model: bytes,
    *,
    runtime: str = DEFAULT_RUNTIME,
    provider: str | None = None,
    threads: int = 1,
    batch: int = 1,
    precision: str = "fp32",
    io: str = "host",
) -> TimedRuns:
    """Times of an ONNX model of this project on random input.

    Args:
        precision: of the model as it is.

    Raises:
        NotFound: no such runtime is registered.
        InputError: the provider does not run it here.
    """
    chosen = find_runtime(runtime)
    try:
        opened = open_models.open_model(
            chosen,
            chosen.convert(model, precision),
            provider=provider,
            threads=threads,
            batch=batch,
            io=io,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    return open_models.timed_runs(opened)


def time_model(model: bytes, conditions: Conditions, *, max_s: float) -> Floats:
    """Times of single runs of an ONNX model of this project, milliseconds, (visits, runs).

    The protocol is that of a table's whole networks: visits of as many runs, over as many openings
    of the model. The statistic to compare with a prediction is therefore `p50_ms`.

    Args:
        conditions: runtime, provider, threads, batch, and the precision of the model as it is.
        max_s: no visit but the first of each opening starts after this time.

    Raises:
        NotFound: no such runtime is registered.
        InputError: the provider does not run it here.
    """
    usual, visits, started = MeasureOptions(), [], time.monotonic()
    for opening in range(OPENINGS):
        run = timed_model(
            model,
            runtime=conditions.runtime,
            provider=conditions.provider,
            threads=conditions.threads or 1,
            batch=conditions.batch,
            precision=conditions.precision,
            io=conditions.io or "host",
        )
        until = started + max_s * (opening + 1) / OPENINGS
        for visit in range(VISITS_OF_A_MODEL // OPENINGS):
            if visit and time.monotonic() >= until:
                break
            visits.append(run(usual.warmup, usual.runs))
    return np.stack(visits)


class RuntimeStopwatch:
    """Times chains with a runtime on this machine."""

    def __init__(self, options: MeasureOptions, tensors_for: TensorsFor = random_tensors) -> None:
        """
        Args:
            options: of these, runtime, provider, threads, batch, precision, io, and the folder
                for models that take long to make.

        Raises:
            NotFound: no such runtime is registered.
            InputError: the runtime lacks the provider here.
        """
        self._runtime = find_runtime(options.runtime)
        self._tensors_for, self._options = tensors_for, options
        self._open: OpenModels[Chain] = OpenModels(self._open_one)
        self._quantized: dict[Chain, bytes] = {}
        _ = self.conditions

    @property
    def conditions(self) -> Conditions:
        """This machine, now; with what ran the models that were opened so far."""
        options = self._options
        conditions = host_conditions(
            options.runtime,
            provider=options.provider,
            threads=options.threads,
            batch=options.batch,
            precision=options.precision,
            io=options.io,
        )
        return replace(conditions, ran_on=self._open.ran_on)

    def prepare(self, chain: Chain, /, after: Chain | None = None) -> TimedRuns:
        """Open the model of `chain`, with random weights for a prefix layer. One that is still in
        use is not opened again."""
        return open_models.timed_runs(
            self._open.get(chain), None if after is None else self._open.get(after)
        )

    def make_models(self, chains: Iterable[Chain], on_progress: OnProgress, /) -> None:
        """Quantize the models at int8; others are made when they are opened."""
        different = dict.fromkeys(chains) if self._options.precision != "fp32" else {}
        for made, chain in enumerate(different):
            on_progress(0.0, f"making model {made + 1} of {len(different)}")
            self._onnx(chain)

    def _open_one(self, chain: Chain) -> OpenModel:
        options = self._options
        try:
            return open_models.open_model(
                self._runtime,
                self._runtime.convert(self._onnx(chain), options.precision),
                provider=options.provider,
                threads=options.threads,
                batch=options.batch,
                io=options.io,
            )
        except ValueError as error:
            raise InputError(str(error)) from error

    def _onnx(self, chain: Chain) -> bytes:
        precision, folder = self._options.precision, self._options.models
        if precision == "fp32":
            return chain_model(chain, self._tensors_for, precision)
        if folder is None:
            if chain not in self._quantized:
                self._quantized[chain] = chain_model(chain, self._tensors_for, precision)
            return self._quantized[chain]
        content = repr((precision, chain)).encode()
        path = folder / f"{hashlib.sha256(content).hexdigest()}.onnx"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, chain_model(chain, self._tensors_for, precision))
        return path.read_bytes()


def measure_space(
    space: SearchSpace,
    tensors_for: TensorsFor = random_tensors,
    options: MeasureOptions | None = None,
    on_progress: OnProgress = lambda share, doing="": None,
    *,
    say: Say = lambda text: None,
    stopwatch: Stopwatch | None = None,
) -> LatencyTable:
    """Measure every layer that networks of `space` can have.

    The partial file, if the options name one, stays for the caller to remove.

    Args:
        tensors_for: weights of given layers, by the names of an extracted subnet's state.
        on_progress: called with the share done, 0..1, never falling, and what is being done.
        say: told what opening the models costs, where it is dear, and whether the time is too
            short.
        stopwatch: what times a chain; the options' runtime on this machine unless given.

    Raises:
        NotFound: no such runtime is registered.
        InputError: the partial file is damaged, or of another measurement, or the runtime lacks
            the provider.
    """
    options = options or MeasureOptions()
    plan = plan_benchmark(space, options.networks, options.seed)
    stopwatch = stopwatch or RuntimeStopwatch(options, tensors_for)
    times = time_chains(plan.timings, stopwatch, options, on_progress, say=say)
    return assemble_table(
        space,
        plan,
        times,
        device=options.device,
        conditions=stopwatch.conditions,
        runs=options.runs,
        seed=options.seed,
    )

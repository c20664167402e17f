"""Measure a latency table on this machine with ONNX Runtime."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from latency_tables.chains import LEAD, Chain, Floats, fit_overhead, layer_latency, plan_chains
from latency_tables.rounds import (
    MeasureOptions,
    OnProgress,
    Stopwatch,
    TimedRuns,
    median_ms,
    time_chains,
)
from latency_tables.table import Conditions, LatencyTable
from models.onnx_builder import build_slice, tensor_shapes
from models.plan import LayerSpec, layer_plan
from models.space import SearchSpace

TensorsFor = Callable[[Sequence[LayerSpec]], Mapping[str, npt.NDArray[np.generic]]]
"""Weights of given layers, by the names of an extracted subnet's state."""

PROVIDER = "CPUExecutionProvider"


class OrtStopwatch:
    """Sequential execution of one session on the CPU provider, default optimizations."""

    def __init__(self, tensors_for: TensorsFor, *, threads: int = 1, batch: int = 1) -> None:
        self._tensors_for = tensors_for
        self._threads, self._batch = threads, batch

    @property
    def conditions(self) -> Conditions:
        """This machine, now."""
        return Conditions(
            runtime="onnxruntime",
            runtime_version=ort.__version__,
            provider=PROVIDER,
            threads=self._threads,
            batch=self._batch,
            precision="fp32",
            processor=_processor(),
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def prepare(self, chain: Chain, /) -> TimedRuns:
        """Build a session for `chain`, with random weights for a lead."""
        tensors = {
            **random_tensors([layer for layer in chain if layer.name == LEAD]),
            **self._tensors_for([layer for layer in chain if layer.name != LEAD]),
        }
        return timed_session(build_slice(chain, tensors), threads=self._threads, batch=self._batch)


def timed_session(model: bytes, *, threads: int = 1, batch: int = 1) -> TimedRuns:
    """Runs of a model of this project on random input; also for whole exported networks.

    Each run is one `InferenceSession.run` from Python, which is what a user of the file pays.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    session = ort.InferenceSession(model, options, providers=[PROVIDER])
    (expects,) = session.get_inputs()
    shape = (batch, *expects.shape[1:])
    feed = {expects.name: np.random.default_rng(0).standard_normal(shape, np.float32)}

    def timed_runs(warmup: int, runs: int) -> Floats:
        for _ in range(warmup):
            session.run(None, feed)
        elapsed_ns = np.empty(runs)
        for run in range(runs):
            start = time.perf_counter_ns()
            session.run(None, feed)
            elapsed_ns[run] = time.perf_counter_ns() - start
        return elapsed_ns / 1e6

    return timed_runs


def random_tensors(layers: Sequence[LayerSpec]) -> dict[str, npt.NDArray[np.float32]]:
    """Weights to time layers with when there are no trained ones, equal for equal layers.

    Convolutions are scaled after He et al. 2015; batch norms are not trivial, and halve, so that
    activations stay ordinary numbers however many skips add up (infinities time differently).
    """
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in tensor_shapes(layers).items():
        if len(shape) > 1:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif name.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("norm.weight"):
            value = rng.uniform(0.2, 0.8, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        tensors[name] = value.astype(np.float32)
    return tensors


def measure_space(
    space: SearchSpace,
    tensors_for: TensorsFor = random_tensors,
    options: MeasureOptions | None = None,
    on_progress: OnProgress = lambda _: None,
    *,
    stopwatch: Stopwatch | None = None,
) -> LatencyTable:
    """Measure every layer that networks of `space` can have.

    Args:
        tensors_for: weights of given layers, by the names of an extracted subnet's state.
        on_progress: called with the share done, 0..1, never falling.
        stopwatch: what times a chain; ONNX Runtime on this machine unless given.

    Raises:
        InputError: the partial file is damaged, or of another measurement.
    """
    options = options or MeasureOptions()
    stopwatch = stopwatch or OrtStopwatch(tensors_for, threads=options.threads, batch=options.batch)
    plan = plan_chains(space)
    networks = sample_networks(space, options.calibrate + options.check, options.seed)
    chains = {**plan.chains, **networks}
    visits = time_chains(chains, stopwatch, options, on_progress)

    layers = {
        key: layer_latency(visits[pair.with_layer], visits[pair.without], options.runs)
        for key, pair in plan.layers.items()
    }
    measured = np.array([median_ms(visits[name]) for name in networks])
    summed = np.array(
        [sum(layers[layer.key].p50_ms for layer in network) for network in networks.values()]
    )
    fitted = min(options.calibrate, len(networks))
    overhead_ms = fit_overhead(measured[:fitted], summed[:fitted])
    errors = (np.abs(summed + overhead_ms - measured) / measured)[fitted:]
    rounds = len(next(iter(visits.values())))
    if options.partial:
        options.partial.unlink(missing_ok=True)
    return LatencyTable(
        device=options.device,
        space=space.name,
        origin="measured",
        source=(
            "each layer behind a 1x1 convolution, less that convolution alone; median of "
            f"{rounds} rounds of {options.runs} runs; overhead fitted on "
            f"{fitted} whole networks, error from {len(errors)} others"
        ),
        conditions=stopwatch.conditions,
        entries=layers,
        network_overhead_ms=overhead_ms,
        expected_error=round(float(errors.mean()), 4) if len(errors) else None,
    )


def sample_networks(space: SearchSpace, count: int, seed: int) -> dict[str, Chain]:
    """Up to `count` different random networks of `space`, by their architecture as text."""
    archs = space.decode(space.sample(count, np.random.default_rng(seed)))
    return {json.dumps(arch.to_json()): layer_plan(space, arch) for arch in archs}


def _processor() -> str:
    """The processor's name as its maker gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.processor() or platform.machine()

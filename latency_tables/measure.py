"""Measure a latency table on this machine with ONNX Runtime.

Every chain of `latency_tables.chains`, and some whole networks, are visited once a round in
random order: a few runs to warm up, a few timed. Rounds go on for a given time, so that a
clock that drifts or a neighbour that wakes up meets all layers alike.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from latency_tables.chains import LEAD, Chain, Floats, fit_overhead, layer_latency, plan_chains
from latency_tables.store import write_atomically
from latency_tables.table import Conditions, LatencyTable, check_name
from models.errors import InputError
from models.onnx_builder import build_slice, tensor_shapes
from models.plan import LayerSpec, layer_plan
from models.space import Arch, SearchSpace

TensorsFor = Callable[[Sequence[LayerSpec]], Mapping[str, npt.NDArray[np.generic]]]
OnProgress = Callable[[float], None]

PROVIDER = "CPUExecutionProvider"
MAX_ROUNDS = 2000
SAVE_EVERY_S = 10.0
PREPARING = 0.1
"""Share of the progress bar for building sessions."""


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
    """File that keeps finished rounds, so that a cut-off measurement goes on; removed at the end."""

    def __post_init__(self) -> None:
        check_name(self.device, "device")
        for field in ("min_rounds", "runs", "threads", "batch", "calibrate"):
            if getattr(self, field) < 1:
                raise InputError(f"{field}: expected at least 1, got {getattr(self, field)}")
        for field in ("target_s", "warmup", "check", "seed"):
            if not getattr(self, field) >= 0:
                raise InputError(f"{field}: expected at least 0, got {getattr(self, field)}")


TimedRuns = Callable[[int, int], Floats]
"""(untimed runs, timed runs) -> milliseconds of each timed run."""


class Stopwatch(Protocol):
    """Times chains of layers under fixed conditions."""

    @property
    def conditions(self) -> Conditions:
        """Under what it measures."""
        ...

    def prepare(self, chain: Chain, /) -> TimedRuns:
        """Make `chain` ready to run again and again."""
        ...


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

    Convolutions are scaled after He et al. 2015 so that activations stay ordinary numbers;
    batch norms and biases are neither trivial nor extreme.
    """
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in tensor_shapes(layers).items():
        if len(shape) > 1:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif name.endswith(("norm.weight", "running_var")):
            value = rng.uniform(0.5, 1.5, shape)
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
    used = slice(options.calibrate)
    overhead_ms = fit_overhead(measured[used], summed[used])
    errors = (
        np.abs(summed + overhead_ms - measured)[options.calibrate :] / measured[options.calibrate :]
    )
    rounds = len(next(iter(visits.values())))
    if options.partial:
        options.partial.unlink(missing_ok=True)
    return LatencyTable(
        device=options.device,
        space=space.name,
        origin="measured",
        source=(
            f"each layer behind a 1x1 convolution, less that convolution alone; median of "
            f"{rounds} rounds of {options.runs} runs; overhead fitted on "
            f"{len(measured[used])} whole networks, error from {len(errors)} others"
        ),
        conditions=stopwatch.conditions,
        entries=layers,
        network_overhead_ms=overhead_ms,
        expected_error=round(float(errors.mean()), 4) if len(errors) else None,
    )


def sample_networks(space: SearchSpace, count: int, seed: int) -> dict[str, Chain]:
    """Up to `count` different random networks of `space`, by their architecture as text."""
    archs: list[Arch] = space.decode(space.sample(count, np.random.default_rng(seed)))
    return {json.dumps(arch.to_json()): layer_plan(space, arch) for arch in archs}


def median_ms(visits: Floats) -> float:
    """Median over rounds of the visits' medians; `visits` is (R, 2)."""
    return float(np.median(visits[:, 0]))


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


Visits = dict[str, list[tuple[float, float]]]


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


def _processor() -> str:
    """The processor's name as its maker gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.processor() or platform.machine()

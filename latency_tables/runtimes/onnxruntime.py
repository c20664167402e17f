"""ONNX Runtime on the CPU and its other execution providers.

A provider may have options, `NAME:key=value,key=value`. They are part of the conditions.

This file imports nothing of its project: a measuring kit carries it as its runtime.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DEFAULT_PROVIDER = "CPUExecutionProvider"
BATCH = "batch"
"""Name of the models' first dimension, where it is not fixed."""
DEVICE_MEMORY = {
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "NvTensorRTRTXExecutionProvider": "cuda",
    "DmlExecutionProvider": "dml",
    "CANNExecutionProvider": "cann",
}
"""Providers with a memory of their own that `OrtValue` can lie in, and its name there."""
FIXED_BATCH = {
    "NnapiExecutionProvider": "takes no node whose shapes are not fixed",
    "CoreMLExecutionProvider": "takes no node whose shapes are not fixed, unless asked to",
    "QNNExecutionProvider": "compiles for fixed shapes alone",
    "TensorrtExecutionProvider": "builds an engine for each shape",
    "NvTensorRTRTXExecutionProvider": "builds an engine for each shape",
    "VitisAIExecutionProvider": "compiles for fixed shapes alone",
}
"""Providers that need the batch fixed in the model to run the whole of it, or fast, and why."""


class OnnxRuntime:
    """Sequential execution of one session, default optimizations."""

    name = "onnxruntime"
    fixed_batch = FIXED_BATCH
    purpose = "ONNX Runtime on CPUs, and on accelerators through its execution providers"
    install = "pip install onnxruntime"

    def providers(self) -> list[str]:
        """The execution providers that ONNX Runtime was built with here."""
        import onnxruntime as ort

        return list(ort.get_available_providers())

    def conditions(self, provider: str | None, threads: int) -> dict[str, Any]:
        """Version, provider with its options sorted, and threads.

        Raises:
            ValueError: if ONNX Runtime lacks the provider here; names those that it has.
        """
        import onnxruntime as ort

        name, options = _parse(provider)
        known = ort.get_available_providers()
        if name not in known:
            raise ValueError(
                f"provider: expected one that ONNX Runtime has here, {known}, got {name!r}"
            )
        text = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        gpu = _cuda_device(options) if DEVICE_MEMORY.get(name) == "cuda" else None
        return {
            "runtime_version": ort.__version__,
            "provider": f"{name}:{text}" if text else name,
            "threads": threads,
            **({} if gpu is None else {"processor": gpu}),
        }

    def convert(self, model: bytes, precision: str) -> bytes:
        """The ONNX model itself."""
        return model

    def open(
        self,
        model: bytes,
        *,
        provider: str | None = None,
        threads: int = 1,
        batch: int = 1,
        io: str = "host",
    ) -> Session | BoundSession:
        """A session on random input, with the batch fixed for providers that need it so.

        Raises:
            ValueError: if the provider cannot be loaded, or another runs some of the nodes, or io
                is "device" and the provider has no memory of its own.
        """
        import onnxruntime as ort

        name, provider_options = _parse(provider)
        if io != "host" and name not in DEVICE_MEMORY:
            raise ValueError(
                f"io: expected 'host', since {name} keeps input and output in this machine's "
                f"memory, got {io!r}; providers with a memory of their own: "
                f"{', '.join(DEVICE_MEMORY)}"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        if name in FIXED_BATCH:
            options.add_free_dimension_override_by_name(BATCH, batch)
        with tempfile.TemporaryDirectory() as folder:
            # The default provider is the one that others fall back to.
            options.enable_profiling = name != DEFAULT_PROVIDER
            options.profile_file_prefix = f"{folder}/nodes"
            session = _session(model, options, name, provider_options)
            (expected,) = session.get_inputs()
            shape = (batch, *expected.shape[1:])
            if expected.shape[0] not in (batch, BATCH):
                raise ValueError(f"batch: the model takes {expected.shape[0]} images, got {batch}")
            feed = {expected.name: np.random.default_rng(0).standard_normal(shape, np.float32)}
            ran_on: str | None = name
            if options.enable_profiling:
                session.run(None, feed)
                events = json.loads(Path(session.end_profiling()).read_bytes())
                ran_on = _runner_of_nodes(events, name)
        if io == "host":
            return Session(session, feed, ran_on)
        return BoundSession(session, feed, ran_on, _memory(name, provider_options))


def _session(model: bytes, options: Any, name: str, provider_options: dict[str, str]) -> Any:
    """An `InferenceSession` of the provider and no other.

    Raises:
        ValueError: the provider cannot be loaded, or cannot open the model.
    """
    import onnxruntime as ort

    if name in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        _preload_cuda()
    try:
        session = ort.InferenceSession(model, options, providers=[(name, provider_options)])
    except Exception as error:  # each provider raises its own
        if name == DEFAULT_PROVIDER:
            raise
        raise ValueError(f"provider: {name} could not open the model: {error}") from error
    if session.get_providers()[0] != name:
        raise ValueError(
            f"provider: ONNX Runtime could not load {name!r} here: a library that it needs is "
            "missing, or there is no such device"
        )
    return session


@cache
def _preload_cuda() -> None:
    """Load the libraries that pip installed for CUDA: they lie where no loader looks."""
    import onnxruntime as ort

    with contextlib.suppress(Exception), contextlib.redirect_stdout(sys.stderr):
        ort.preload_dlls()


def _cuda_device(options: dict[str, str]) -> str | None:
    """The name of a CUDA device, as its driver gives it; None without the driver."""
    name, device = ctypes.create_string_buffer(100), ctypes.c_int()
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        failed = (
            cuda.cuInit(0)
            or cuda.cuDeviceGet(ctypes.byref(device), int(options.get("device_id", 0)))
            or cuda.cuDeviceGetName(name, len(name), device)
        )
    except (OSError, AttributeError, ValueError):
        return None
    return None if failed else name.value.decode(errors="replace") or None


class Session:
    """One `InferenceSession.run` from Python, which is what a user of the file pays."""

    def __init__(self, session: Any, feed: dict[str, Any], ran_on: str | None) -> None:
        self._run, self._feed = session.run, feed
        self.ran_on = ran_on

    def run(self) -> None:
        """Run one inference."""
        self._run(None, self._feed)

    def time_ms(self) -> float:
        """Run one inference; returns its milliseconds."""
        start = time.perf_counter_ns()
        self._run(None, self._feed)
        return (time.perf_counter_ns() - start) / 1e6

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of images, (batch, channels, height, width)."""
        (name,) = self._feed
        logits: npt.NDArray[np.float32] = self._run(None, {name: images})[0]
        return logits


class BoundSession:
    """One inference whose input and output stay in the device's memory.

    It ends when the device has finished: a provider may return from the run before that.
    """

    def __init__(
        self, session: Any, feed: dict[str, Any], ran_on: str | None, memory: tuple[str, int]
    ) -> None:
        """
        Args:
            memory: name and number of the device, as `OrtValue` takes them.

        Raises:
            ValueError: the device's memory cannot be had.
        """
        import onnxruntime as ort

        self._run, self._binding = session.run_with_iobinding, session.io_binding()
        self.ran_on = ran_on
        # The output's shape depends on the batch, so a run tells it.
        (output,) = session.get_outputs()
        (value,) = session.run([output.name], feed)
        ((name, image),) = feed.items()
        try:
            inside = ort.OrtValue.ortvalue_from_numpy(image, *memory)
            outside = ort.OrtValue.ortvalue_from_shape_and_type(value.shape, value.dtype, *memory)
        except RuntimeError as error:
            raise ValueError(
                f"io: no memory of {memory[0]!r} {memory[1]} can be had here ({error}); use 'host'"
            ) from error
        self._binding.bind_ortvalue_input(name, inside)
        self._binding.bind_ortvalue_output(output.name, outside)
        self._input, self._output = inside, outside
        self.run()

    def run(self) -> None:
        """Run one inference, to its end."""
        self._run(self._binding)
        self._binding.synchronize_outputs()

    def time_ms(self) -> float:
        """Run one inference, to its end; returns its milliseconds."""
        start = time.perf_counter_ns()
        self.run()
        return (time.perf_counter_ns() - start) / 1e6

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of images, (batch, channels, height, width), which are copied there."""
        self._input.update_inplace(np.ascontiguousarray(images))
        self.run()
        logits: npt.NDArray[np.float32] = self._output.numpy()
        return logits


def _memory(provider: str, options: dict[str, str]) -> tuple[str, int]:
    """Name and number of a provider's memory, as `OrtValue` takes them."""
    return DEVICE_MEMORY[provider], int(options.get("device_id", 0))


def _runner_of_nodes(events: list[dict[str, Any]], provider: str) -> str | None:
    """The provider, if it ran every node: ONNX Runtime gives nodes that it cannot run to the CPU,
    without a word. None if the profile names no nodes.

    Args:
        events: of ONNX Runtime's profile of one run.

    Raises:
        ValueError: another provider ran some of them.
    """
    nodes = [event for event in events if event.get("cat") == "Node" and "dur" in event]
    ran = [str(event["args"].get("provider", provider)) for event in nodes]
    if others := sorted(set(ran) - {provider}):
        left = [event for event, runner in zip(nodes, ran) if runner != provider]  # noqa: B905
        kinds = sorted({str(event["args"].get("op_name")) for event in left})
        share = sum(event["dur"] for event in left) / max(sum(event["dur"] for event in nodes), 1)
        raise ValueError(
            f"provider: expected {provider!r} to run the whole model, but {' and '.join(others)} "
            f"ran {len(left)} of {len(nodes)} nodes, {share:.0%} of the time "
            f"({', '.join(kinds[:8])}): name the provider that runs it, or another precision"
        )
    return provider if nodes else None


def _parse(provider: str | None) -> tuple[str, dict[str, str]]:
    """Name and options of `NAME:key=value,key=value`."""
    name, _, text = (provider or DEFAULT_PROVIDER).partition(":")
    options = [item.partition("=") for item in text.split(",") if item]
    if wrong := [key for key, equals, _ in options if not (key and equals)]:
        raise ValueError(f"provider: expected NAME:key=value,key=value, got option {wrong[0]!r}")
    return name, {key: value for key, _, value in options}


RUNTIME = OnnxRuntime()

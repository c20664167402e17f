"""OpenVINO on this machine's CPU, GPU or NPU.

A provider is an OpenVINO device with properties of its plugin, `NAME:key=value,key=value`. They and
those that are set here, unless the provider states them otherwise, are part of the conditions.

This file imports nothing of its project: a measuring kit carries it as its runtime.
"""

from __future__ import annotations

import sys
import time
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

DEFAULT_PROVIDER = "CPU"
LATENCY = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}
"""One inference at a time, as fast as it goes. A CPU with bf16 or f16 units would run a float32
model at that precision without a word."""
THREADS = "INFERENCE_NUM_THREADS"
LESSER_FLOATS = {"f16", "bf16"}


class OpenVino:
    """One infer request of a model compiled for low latency, its batch fixed."""

    name = "openvino"
    purpose = "OpenVINO on Intel and other CPUs, and on Intel's GPUs and NPUs"
    install = "pip install 'subnet-search[openvino]' (beside a kit: pip install openvino)"

    def providers(self) -> list[str]:
        """The devices that OpenVINO finds here."""
        return list(_core().available_devices)

    def conditions(self, provider: str | None, threads: int) -> dict[str, Any]:
        """Version, device with all properties that are set, sorted, and threads; the processor
        where it is not the CPU.

        Raises:
            ValueError: if OpenVINO is not installed, lacks the device here, or the device has no
                such property.
        """
        name, options = _parse(provider)
        core = _core()
        known = core.available_devices
        if name not in {device.partition(".")[0] for device in known} | set(known):
            raise ValueError(
                f"provider: expected a device that OpenVINO has here, {known}, got {name!r}"
            )
        supported = sorted(core.get_property(name, "SUPPORTED_PROPERTIES"))
        if wrong := [key for key in options if key not in supported or key == THREADS]:
            use = "state --threads" if wrong[0] == THREADS else f"expected some of {supported}"
            raise ValueError(f"provider: {wrong[0]!r} is no property to set of {name}: {use}")
        text = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        elsewhere = {} if name == DEFAULT_PROVIDER else {"processor": _full_name(core, name)}
        return {
            "runtime_version": _openvino().__version__.partition("-")[0],
            "provider": f"{name}:{text}",
            "threads": threads,
            **elsewhere,
        }

    def convert(self, model: bytes, precision: str) -> bytes:
        """The ONNX model itself, which OpenVINO reads."""
        return model

    def open(
        self,
        model: bytes,
        *,
        provider: str | None = None,
        threads: int = 1,
        batch: int = 1,
        io: str = "host",
    ) -> CompiledModel:
        """A model compiled for `batch` images, on random input.

        Raises:
            ValueError: if the device cannot compile it, another runs a part of it, it runs at
                a lesser precision than the provider says, or io is "device".
        """
        if io != "host":
            raise ValueError(f"io: expected 'host', the only one with openvino, got {io!r}")
        name, options = _parse(provider)
        core = _core()
        if THREADS in core.get_property(name, "SUPPORTED_PROPERTIES"):
            options[THREADS] = str(threads)
        try:
            network = core.read_model(model)
            (expected,) = network.inputs
            shape = [batch, *(size.get_length() for size in list(expected.partial_shape)[1:])]
            network.reshape({expected.any_name: shape})
            compiled = core.compile_model(network, name, options)
            ran_on = _runner(compiled, name, options["INFERENCE_PRECISION_HINT"])
            return CompiledModel(compiled, shape, ran_on)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line and "Exception" not in line]
            raise ValueError(
                f"provider: OpenVINO cannot run the model on {name!r} here: {' '.join(lines)}"
            ) from error


class CompiledModel:
    """One `InferRequest.infer` from Python, which is what a user of the file pays."""

    def __init__(self, compiled: Any, shape: list[int], ran_on: str) -> None:
        self._request, self.ran_on = compiled.create_infer_request(), ran_on
        self._set(np.random.default_rng(0).standard_normal(shape, np.float32))
        self._request.infer()

    def _set(self, images: npt.NDArray[np.float32]) -> None:
        self._request.set_input_tensor(_openvino().Tensor(images))

    def run(self) -> None:
        """Run one inference."""
        self._request.infer()

    def time_ms(self) -> float:
        """Run one inference; returns its milliseconds."""
        start = time.perf_counter_ns()
        self._request.infer()
        return (time.perf_counter_ns() - start) / 1e6

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of images, (batch, channels, height, width)."""
        self._set(np.ascontiguousarray(images))
        self._request.infer()
        logits: npt.NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return logits


def _runner(compiled: Any, name: str, precision: str) -> str:
    """The device, if it alone runs the model, at `precision` or as the model itself says.

    Raises:
        ValueError: it does not.
    """
    devices = [
        str(device).partition(".")[0] for device in compiled.get_property("EXECUTION_DEVICES")
    ]
    if set(devices) != {name.partition(".")[0]}:
        raise ValueError(
            f"provider: expected {name!r} to run the whole model, but it runs on {devices}: name "
            "the device that runs it"
        )
    nodes = compiled.get_runtime_model().get_ops()
    ran_at = {str(node.get_rt_info()["runtimePrecision"].astype(str)) for node in nodes}
    if lesser := sorted((ran_at & LESSER_FLOATS) - {precision}):
        raise ValueError(
            f"provider: {precision} was asked for, but {name} runs a part of the model at "
            f"{' and '.join(lesser)}; state it, as {name}:INFERENCE_PRECISION_HINT={lesser[0]}"
        )
    return name


def _parse(provider: str | None) -> tuple[str, dict[str, str]]:
    """Name and properties of `NAME:key=value,key=value`, with those of `LATENCY`.

    AUTO, HETERO and the like are refused: they decide by themselves what runs, and may change it.
    """
    name, _, text = (provider or DEFAULT_PROVIDER).partition(":")
    if name in ("AUTO", "BATCH", "HETERO", "MULTI"):
        raise ValueError(f"provider: {name} chooses among devices: name the one that is to run")
    options = [item.partition("=") for item in text.split(",") if item]
    if wrong := [key for key, equals, _ in options if not (key and equals)]:
        raise ValueError(f"provider: expected NAME:key=value,key=value, got option {wrong[0]!r}")
    return name, {**LATENCY, **{key: value for key, _, value in options}}


@cache
def _openvino() -> Any:
    """The package, without its telemetry: importing it sends an event to Google Analytics, unless
    the package `openvino_telemetry` cannot be imported.

    Raises:
        ValueError: it is not installed.
    """
    before = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # cannot be imported
    try:
        import openvino
    except ImportError as error:
        raise ValueError(f"openvino cannot be imported ({error}): {OpenVino.install}") from error
    finally:
        del sys.modules["openvino_telemetry"]
        if before is not None:
            sys.modules["openvino_telemetry"] = before
    return openvino


@cache
def _core() -> Any:
    return _openvino().Core()


def _full_name(core: Any, device: str) -> str:
    return str(core.get_property(device, "FULL_DEVICE_NAME")).strip()


RUNTIME = OpenVino()

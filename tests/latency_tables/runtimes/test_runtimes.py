"""Runtimes are found by name; a provider's options are conditions; no runtime replaces another."""

import ctypes
import dataclasses
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from latency_tables.benchmark import open_models
from latency_tables.benchmark.measure import (
    RuntimeStopwatch,
    host_conditions,
    measure_space,
    timed_model,
)
from latency_tables.benchmark.models import random_tensors
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.runtimes import onnxruntime, why_fixed_batch
from models.errors import InputError, NotFound
from models.onnx.builder import build_onnx
from models.spaces.plan import layer_plan
from service.delivery.timing import HostTimer
from tests.extension.mac_counter import CountedModel, MacCounter
from tests.spaces import DEBUG

CPU, AZURE = "CPUExecutionProvider", "AzureExecutionProvider"


def test_a_provider_with_options_is_another_condition() -> None:
    plain = host_conditions()
    assert plain.provider == CPU
    tuned = host_conditions(provider=f"{CPU}:use_arena=0,a=1")
    assert tuned.provider == f"{CPU}:a=1,use_arena=0"
    assert not tuned.alike(plain)
    assert host_conditions(provider=tuned.provider).alike(tuned)
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    assert (timed_model(model, provider=tuned.provider)(1, 3) > 0).all()


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("NoProvider", "expected one that ONNX Runtime has here"),
        (f"{CPU}:arena", "expected NAME:key=value,key=value, got option 'arena'"),
        (f"{CPU}:=1", "expected NAME:key=value,key=value, got option ''"),
    ],
)
def test_a_provider_that_is_not_here_is_refused(provider, words) -> None:
    with pytest.raises(InputError, match=words):
        host_conditions(provider=provider)
    assert HostTimer().conditions("onnxruntime", provider, 1) is None


def event(op_name, provider, dur_us=1):
    """As ONNX Runtime's profile has it."""
    args = {"op_name": op_name, "provider": provider}
    return {"cat": "Node", "name": f"{op_name}_kernel_time", "dur": dur_us, "args": args}


def test_a_provider_that_leaves_nodes_to_another_is_refused_with_them() -> None:
    """A made-up accelerator, which cannot run two of four nodes."""
    whole = [event("Conv", "FastProvider"), event("Gemm", "FastProvider", 6)]
    told = {"cat": "Session", "name": "model_run", "dur": 9, "args": {}}
    assert onnxruntime._runner_of_nodes([*whole, told], "FastProvider") == "FastProvider"
    assert onnxruntime._runner_of_nodes([told], "FastProvider") is None
    left = [event("HardSwish", CPU), event("Mul", CPU, 2)]
    with pytest.raises(ValueError, match=f"{CPU} ran 2 of 4 nodes, 30% of the time .HardSwish, M"):
        onnxruntime._runner_of_nodes([*whole, *left], "FastProvider")


@pytest.mark.skipif(AZURE not in ort.get_available_providers(), reason="built without it")
def test_a_provider_that_leaves_all_to_the_cpu_gives_no_table() -> None:
    """ONNX Runtime lists and loads it, and runs every node elsewhere."""
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    with pytest.raises(InputError, match=r"CPUExecutionProvider ran (\d+) of \1 nodes, 100%"):
        timed_model(model, provider=AZURE)
    options = MeasureOptions(provider=AZURE, target_s=0, networks=1)
    with pytest.raises(InputError, match=f"expected '{AZURE}' to run the whole model"):
        measure_space(DEBUG.at([8]), options=options)


def test_what_ran_the_models_is_a_condition_of_their_times() -> None:
    stopwatch = RuntimeStopwatch(MeasureOptions())
    assert stopwatch.conditions.ran_on is None
    assert "ran_on" not in stopwatch.conditions.to_json()
    stopwatch.prepare(layer_plan(DEBUG, DEBUG.smallest))
    assert stopwatch.conditions.ran_on == stopwatch.conditions.to_json()["ran_on"] == CPU


def test_an_unknown_runtime_times_nothing() -> None:
    with pytest.raises(NotFound, match="no-such-runtime"):
        host_conditions("no-such-runtime")
    assert HostTimer().conditions("no-such-runtime", None, 1) is None


def test_input_and_output_in_the_devices_memory_are_another_condition(monkeypatch):
    """This machine's own memory stands for a device's."""
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    with pytest.raises(InputError, match=f"{CPU} keeps input and output in this machine's memory"):
        timed_model(model, io="device")
    with pytest.raises(InputError, match="io: expected host or device, got 'gpu'"):
        timed_model(model, io="gpu")
    monkeypatch.setitem(onnxruntime.DEVICE_MEMORY, CPU, "cpu")
    opened: Any = onnxruntime.RUNTIME.open(model, batch=3, io="device")
    copied: Any = onnxruntime.RUNTIME.open(model, batch=3)
    (logits,) = opened._binding.copy_outputs_to_cpu()
    assert logits.tolist() == copied._run(None, copied._feed)[0].tolist()
    logits[:] = 0
    assert opened.time_ms() > 0
    assert opened._binding.copy_outputs_to_cpu()[0].any(), "the timed run wrote its output there"
    images = np.random.default_rng(1).standard_normal((3, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(opened.infer(images), copied.infer(images))

    on_device = host_conditions(io="device")
    assert on_device.to_json()["io"] == "device"
    assert not on_device.alike(host_conditions())
    assert dataclasses.replace(on_device, io=None).alike(host_conditions()), "of an older file"


def test_providers_that_need_fixed_shapes_get_them(monkeypatch):
    """The processor stands for one of them; a table's batch is what it is compiled for."""
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    sessions, make = [], onnxruntime._session

    def keep(*args: Any) -> Any:
        sessions.append(make(*args))
        return sessions[-1]

    monkeypatch.setattr(onnxruntime, "_session", keep)
    free: Any = onnxruntime.RUNTIME.open(model, batch=4)
    monkeypatch.setitem(onnxruntime.FIXED_BATCH, CPU, "made up")
    fixed: Any = onnxruntime.RUNTIME.open(model, batch=4)
    assert [session.get_inputs()[0].shape for session in sessions] == [
        ["batch", 1, 8, 8],
        [4, 1, 8, 8],
    ]
    images = np.random.default_rng(1).standard_normal((4, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(fixed.infer(images), free.infer(images))
    assert why_fixed_batch("onnxruntime", f"{CPU}:a=1") == "made up"
    assert why_fixed_batch("onnxruntime", "QNNExecutionProvider") is not None
    assert why_fixed_batch("onnxruntime", "CUDAExecutionProvider") is None
    assert why_fixed_batch("of others", "QNNExecutionProvider") is None


def test_a_gpu_is_named_by_its_driver(monkeypatch):
    class Driver:
        def __init__(self, name):
            assert "cuda" in name

        def cuInit(self, flags):
            return 0

        def cuDeviceGet(self, device, number):
            device._obj.value = number
            return 101 if number > 1 else 0

        def cuDeviceGetName(self, name, size, device):
            name.value = b"Made-up GPU %d" % device.value
            return 0

    monkeypatch.setattr(ctypes, "CDLL", Driver)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    conditions = host_conditions(provider="CUDAExecutionProvider:device_id=1")
    assert conditions.processor == "Made-up GPU 1"
    assert not conditions.alike(host_conditions(provider="CUDAExecutionProvider"))
    for number in ("7", "x"):
        unknown = host_conditions(provider=f"CUDAExecutionProvider:device_id={number}")
        assert unknown.processor == host_conditions().processor


def test_a_provider_that_cannot_be_loaded_says_so(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    plan = layer_plan(DEBUG, DEBUG.smallest)
    model = build_onnx(plan, random_tensors(plan), {})
    with pytest.raises(InputError, match="could (not load|not open).*CUDA|CUDA.*could not"):
        timed_model(model, provider="CUDAExecutionProvider")


def test_a_runtime_without_a_devices_memory_refuses_it():
    class Old(MacCounter):
        """Written before there was a choice."""

        name = "old"

        def open(self, model, *, provider, threads, batch):  # type: ignore[override]
            return CountedModel(batch)

    old: Any = Old()
    given: dict[str, Any] = {"provider": None, "threads": 1, "batch": 2}
    assert open_models.open_model(old, b"", **given, io="host").time_ms() > 0
    with pytest.raises(ValueError, match="runtime 'old' keeps input and output in this machine's"):
        open_models.open_model(old, b"", **given, io="device")

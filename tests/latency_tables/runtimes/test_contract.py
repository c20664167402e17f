"""What every runtime does, and that different ones compute the same."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.benchmark.measure import host_conditions, timed_model
from latency_tables.benchmark.models import random_tensors
from latency_tables.runtimes import find_runtime, runtime_names, summarize_runtime
from latency_tables.runtimes import openvino as openvino_file
from models.errors import InputError
from models.onnx.builder import build_onnx
from models.spaces import published_spaces
from models.spaces.plan import layer_plan
from tests.extension.mac_counter import RUNTIME as MAC_COUNTER
from tests.spaces import DEBUG, RESNET

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="the extra `openvino` is not installed"
)

RUNTIMES = [*map(find_runtime, runtime_names()), MAC_COUNTER]
COMPUTING: list[Any] = [runtime for runtime in RUNTIMES if runtime is not MAC_COUNTER]


def model_of(space, arch):
    plan = layer_plan(space, arch)
    return build_onnx(plan, random_tensors(plan), {}), (plan[0].in_channels, plan[0].in_size)


@pytest.fixture(scope="module")
def model():
    return model_of(DEBUG, DEBUG.smallest)[0]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda r: r.name)
def test_a_runtime_states_conditions_that_it_understands(runtime):
    stated = runtime.conditions(None, 2)
    assert set(stated) >= {"runtime_version", "provider", "threads"}
    assert stated["threads"] == 2
    assert runtime.conditions(stated["provider"], 2) == stated
    summary = summarize_runtime(runtime)
    assert (summary.available, summary.install) == (True, None)
    assert (summary.name, summary.version) == (runtime.name, stated["runtime_version"])
    assert summary.purpose


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda r: r.name)
def test_a_runtime_opens_runs_and_times(runtime, batch, model):
    opened = runtime.open(runtime.convert(model, "fp32"), provider=None, threads=1, batch=batch)
    opened.run()
    assert opened.time_ms() > 0


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("runtime", COMPUTING, ids=lambda r: r.name)
def test_a_runtime_answers_for_images(runtime, batch, model):
    """And times the same random images after as before."""
    opened = runtime.open(runtime.convert(model, "fp32"), provider=None, threads=1, batch=batch)
    images = np.random.default_rng(1).standard_normal((batch, 1, 8, 8), np.float32)
    logits = opened.infer(images)
    assert logits.shape == (batch, DEBUG.classes)
    np.testing.assert_array_equal(opened.infer(images), logits)
    assert not np.array_equal(opened.infer(images[::-1] + 1), logits)


@pytest.mark.parametrize("runtime", COMPUTING, ids=lambda r: r.name)
@pytest.mark.parametrize("provider", ["NoProvider", "NoProvider:key=value", ":"])
def test_a_runtime_refuses_providers_that_are_not_here(runtime, provider):
    with pytest.raises(InputError, match="provider: expected"):
        host_conditions(runtime.name, provider=provider)


@pytest.mark.parametrize("runtime", COMPUTING, ids=lambda r: r.name)
def test_a_runtime_refuses_options_without_a_value(runtime):
    usual = runtime.conditions(None, 1)["provider"].partition(":")[0]
    with pytest.raises(InputError, match="expected NAME:key=value,key=value, got option 'fast'"):
        host_conditions(runtime.name, provider=f"{usual}:fast")


@pytest.mark.slow
@pytest.mark.parametrize(
    "space", [DEBUG, RESNET, *published_spaces().values()], ids=lambda s: s.name
)
def test_runtimes_give_equal_answers(space):
    """For a random network of each kind of space; of the published ones a small one, for time."""
    rng = np.random.default_rng(0)
    arch = (
        space.smallest
        if space.name in published_spaces()
        else space.decode(space.sample(1, rng))[0]
    )
    model, (channels, size) = model_of(space, arch)
    images = rng.standard_normal((1, channels, size, size), np.float32)
    first, *others = (
        runtime.open(model, provider=None, threads=1, batch=1).infer(images)
        for runtime in COMPUTING
    )
    for logits in others:
        assert np.abs(logits - first).max() <= 1e-5 * np.abs(first).max()


# -- OpenVINO ------------------------------------------------------------------------------


def test_openvino_states_every_property_that_it_sets():
    stated = host_conditions("openvino", threads=1)
    assert stated.provider == (
        "CPU:INFERENCE_PRECISION_HINT=f32,NUM_STREAMS=1,PERFORMANCE_HINT=LATENCY"
    )
    assert host_conditions("openvino", provider="CPU").alike(stated)
    halved = host_conditions("openvino", provider="CPU:INFERENCE_PRECISION_HINT=bf16")
    assert not halved.alike(stated)


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("AUTO", "AUTO chooses among devices: name the one that is to run"),
        ("CPU:FOO=1", "'FOO' is no property to set of CPU: expected some of"),
        ("CPU:INFERENCE_NUM_THREADS=2", "'INFERENCE_NUM_THREADS' is no .*: state --threads"),
    ],
)
def test_openvino_refuses_what_it_could_not_record(provider, words):
    with pytest.raises(InputError, match=words):
        host_conditions("openvino", provider=provider)


def test_a_value_that_openvino_cannot_read_is_refused(model):
    with pytest.raises(InputError, match="io: expected 'host', the only one with openvino"):
        timed_model(model, runtime="openvino", io="device")
    with pytest.raises(InputError, match="OpenVINO cannot run the model .* number of streams"):
        timed_model(model, runtime="openvino", provider="CPU:NUM_STREAMS=many")
    with pytest.raises(InputError, match="OpenVINO cannot run the model"):
        timed_model(b"no model", runtime="openvino")


class FakeCompiled:
    """A model compiled on a machine that this one is not."""

    def __init__(self, devices, precisions):
        self.devices, self.precisions = devices, precisions

    def get_property(self, name):
        return self.devices

    def get_runtime_model(self):
        return self

    def get_ops(self):
        return [FakeNode(precision) for precision in self.precisions]


class FakeNode:
    def __init__(self, precision):
        self.precision = precision

    def get_rt_info(self):
        return {"runtimePrecision": self}

    def astype(self, kind):
        return self.precision


def test_a_lesser_precision_or_another_device_is_refused():
    """As on a CPU with bf16 units that ignored the hint, or an accelerator that fell back."""
    run = openvino_file._runner
    assert run(FakeCompiled(["CPU"], ["f32", "i32", "u8"]), "CPU", "f32") == "CPU"
    assert run(FakeCompiled(["GPU.0"], ["f16"]), "GPU", "f16") == "GPU"
    with pytest.raises(ValueError, match="f32 was asked for, but CPU runs a part .* at bf16"):
        run(FakeCompiled(["CPU"], ["f32", "bf16"]), "CPU", "f32")
    with pytest.raises(ValueError, match=r"expected 'GPU' to run .*, but it runs on \['CPU'\]"):
        run(FakeCompiled(["CPU"], ["f32"]), "GPU", "f32")


WATCHED = """
import sys
def watch(event, arguments):
    if event.startswith("socket."):
        print(event, arguments)
sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
from runtime import RUNTIME
if sys.argv[2:]:
    sys.modules["openvino"] = None
try:
    print(RUNTIME.conditions(None, 1)["runtime_version"], "openvino_telemetry" in sys.modules)
except ValueError as error:
    print(error)
import threading
[thread.join(5) for thread in threading.enumerate() if thread is not threading.main_thread()]
"""


@pytest.mark.slow
@pytest.mark.parametrize("missing", [[], ["missing"]])
def test_the_file_alone_asks_nobody_and_names_what_is_missing(missing, tmp_path):
    """As a kit carries it, in a process of its own: no socket, no file of telemetry; or without
    the package."""
    (tmp_path / "runtime.py").write_bytes(Path(openvino_file.__file__).read_bytes())
    command = [sys.executable, "-I", "-c", WATCHED, str(tmp_path), *missing]
    done = subprocess.run(
        command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    if missing:
        assert "pip install 'subnet-search[openvino]'" in done.stdout
    else:
        assert done.stdout.split() == [
            find_runtime("openvino").conditions(None, 1)["runtime_version"],
            "False",
        ]
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == [
        "runtime.py"
    ]

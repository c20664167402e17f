"""What a browser times: the models and names of a kit, by number."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime as ort
import pytest

from latency_tables.benchmark.plan import plan_benchmark
from latency_tables.benchmark.remote_plan import quick_plan, thorough_plan
from latency_tables.benchmark.rounds import MeasureOptions
from models.errors import InputError
from models.spaces import Arch, layer_plan
from tests.spaces import DEBUG


def quick():
    return quick_plan(DEBUG, DEBUG.decode(DEBUG.sample(5, np.random.default_rng(0))), "fp32")


def test_a_quick_plan():
    plan = quick()
    said = plan.to_json([{"bytes": 1}] * len(plan.chains))
    assert said["id"] == quick().id == plan.id
    assert list(said["timings"]) == list(said["networks"])
    for name, timing in said["timings"].items():
        network = layer_plan(DEBUG, Arch.from_json(json.loads(name)))
        assert plan.chains[timing["model"]] == network
        assert said["networks"][name]["macs"] == sum(layer.macs for layer in network)
    for number in (0, plan.canary):
        session = ort.InferenceSession(plan.model(number), providers=["CPUExecutionProvider"])
        shape = said["models"][number]["input"]
        session.run(None, {"input": np.zeros(shape, np.float32)})
    assert plan.model(0) == quick().model(0)


def test_a_thorough_plan_is_a_kits():
    plan, usual = thorough_plan(DEBUG, "fp32"), MeasureOptions()
    kit = plan_benchmark(DEBUG, usual.networks, usual.seed)
    assert plan.timings == kit.timings
    assert plan.rounds["networks"] == usual.networks
    cold = [timing for timing in plan.to_json([{}] * len(plan.chains))["timings"].values()]
    assert any("after" in timing for timing in cold)
    assert plan.id != thorough_plan(DEBUG, "int8").id


def test_other_names_are_refused():
    plan = quick()
    times = {name: {"p50": [1.0], "mean": [1.0]} for name in plan.timings}
    assert set(plan.read_times(times)) == set(times)
    with pytest.raises(InputError, match="'more' is not in the plan"):
        plan.read_times({**times, "more": times[next(iter(times))]})

"""A delivered file is timed as its table was, and judged by the statistic that a table predicts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latency_tables.benchmark.measure import time_model
from latency_tables.benchmark.models import random_tensors
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.benchmark.runner import OPENINGS
from latency_tables.runtimes import register_runtime, unregister_runtime
from latency_tables.table.conditions import Conditions
from models.onnx.builder import build_onnx
from models.spaces.plan import layer_plan
from service.delivery.timing import LatencyBudget, measured_p50_ms
from tests.extension.mac_counter import MacCounter
from tests.service.conftest import SUPERNET, busy_on
from tests.spaces import DEBUG

SLOW, PERIOD, FAST_RUNS = 1.3, 200, 40
"""A machine that is slower for 160 of 200 runs, hence at the median."""


class Busy(MacCounter):
    """Takes turns between fast and slow runs, whatever runs."""

    name = "busy"

    def __init__(self):
        self.runs, self.opened = 0, 0

    def open(self, model, *, provider, threads, batch, io="host"):
        self.opened += 1
        return BusyModel(self, json.loads(model)["macs"] * batch)


class BusyModel:
    def __init__(self, machine, macs):
        self.machine, self.macs = machine, macs

    def run(self):
        self.machine.runs += 1

    def time_ms(self):
        self.machine.runs += 1
        slow = self.machine.runs % PERIOD >= FAST_RUNS
        return (0.05 + self.macs / 1e6) * (SLOW if slow else 1.0)


BUSY = Busy()


@pytest.fixture
def busy():
    """At the start of its period, whatever ran before."""
    BUSY.runs = BUSY.opened = 0
    register_runtime(BUSY)
    yield BUSY
    unregister_runtime(BUSY.name)


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("batch", [1, 8])
async def test_a_file_states_the_p50_that_its_table_predicts(run, settings, busy, batch):
    measure = ("devices", "measure", "here", "--supernet", SUPERNET, "--runtime", busy.name)
    run(*measure, "--target-s", 0, "--batch", batch)
    asked = {"supernet": SUPERNET, "device": "here", "constraints": {"latency_ms": 0.8 * batch}}
    async with busy_on(settings) as client:
        answer = await client.post("/v1/searches", json=asked, headers={"Prefer": "wait=60"})
        found = answer.json()["result"]
    timed = found["verified"]["latency_ms"]
    assert timed["value"] == pytest.approx(found["latency_ms"], rel=0.03)
    assert timed["p90"] == timed["p99"] == pytest.approx(timed["value"], rel=0.01)
    assert timed["outcome"] in ("met", "met_within_error")
    assert timed["budget_ms"] == 0.8 * batch
    assert (timed["batch"], found["batch"]) == (batch, batch)
    assert timed["per_image_ms"] == pytest.approx(timed["value"] / batch)
    assert found["latency_ms_per_image"] == pytest.approx(found["latency_ms"] / batch)


def test_the_protocol_is_that_of_a_table(busy):
    plan = layer_plan(DEBUG, DEBUG.smallest)
    conditions = Conditions(runtime=busy.name, precision="fp32", batch=2)
    before, runs = busy.opened, busy.runs
    times_ms = time_model(build_onnx(plan, random_tensors(plan), {}), conditions, max_s=60.0)
    usual = MeasureOptions()
    assert busy.opened - before == OPENINGS == usual.openings
    assert times_ms.shape[1] == usual.runs
    assert busy.runs - runs == len(times_ms) * (usual.warmup + usual.runs)


def test_a_slow_model_is_timed_once_in_each_opening(busy):
    plan = layer_plan(DEBUG, DEBUG.smallest)
    conditions = Conditions(runtime=busy.name, precision="fp32", batch=1)
    times_ms = time_model(build_onnx(plan, random_tensors(plan), {}), conditions, max_s=0.0)
    assert len(times_ms) == OPENINGS


def test_the_statistic_is_the_median_of_visits_by_hand():
    times_ms = np.array([[1.0, 1.0, 9.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    assert measured_p50_ms(times_ms) == 2.0, "not the least, and not moved by one slow run"


@pytest.mark.parametrize(
    ("p50_ms", "stated_error", "outcome"),
    [
        (1.0, 0.0, "met"),
        (1.001, 0.0, "missed"),
        (1.001, 0.02, "met_within_error"),
        (1.02, 0.02, "met_within_error"),
        (1.021, 0.02, "missed"),
        (0.5, 0.02, "met"),
    ],
)
def test_outcomes(p50_ms, stated_error, outcome):
    assert LatencyBudget(1.0, stated_error).outcome(p50_ms) == outcome

"""`devices check`: does a table hold on the machine that it is of?"""

from __future__ import annotations

import dataclasses
import json

import pytest

from latency_tables.benchmark import measure
from models.errors import InputError
from models.spaces.plan import layer_plan
from tests.fake_stopwatch import CONDITIONS, FakeStopwatch
from tests.service.conftest import SUPERNET, catalog_of, keep
from tests.spaces import DEBUG

ON = ("--supernet", SUPERNET, "--target-s", 0)
ADD = ("devices", "check", "host", *ON, "--networks", 8)
CHECK = (*ADD, "--dry-run")
CORRECT = (*ADD, "--correct")


@pytest.fixture
def machine(run, monkeypatch):
    """Times as long as `machine` says; its table `host` is of when it was 1."""
    slower = [1.0]

    def stopwatch(options, _):
        return FakeStopwatch(precision=options.precision, drift=lambda visit: slower[0])

    monkeypatch.setattr(measure, "RuntimeStopwatch", stopwatch)
    run("devices", "measure", "host", *ON)
    return slower


@pytest.mark.slow
def test_a_table_that_holds(run, run_json, machine):
    found = run_json(*CHECK)
    assert found["networks"] == len(found["measurements"]["arch"]) == 8
    assert found["drift"] == pytest.approx(1, abs=1e-3)
    assert found["as_timed"]["mean_error"] < 1e-3
    assert found["as_timed"]["within_10_percent"] == 1
    assert "--correct" not in run(*CHECK).stdout


@pytest.mark.slow
def test_a_machine_that_became_slower_is_told_apart_and_corrected(run, run_json, home, machine):
    machine[0] = 1.2
    found = run_json(*CHECK)
    assert found["drift"] == pytest.approx(1.2, abs=1e-3)
    assert found["as_timed"]["mean_error"] == pytest.approx(1 / 6, abs=1e-3)
    assert found["as_timed"]["bound_held"] == 0
    assert found["without_drift"]["mean_error"] < 1e-3
    said = run(*CHECK).stdout
    assert "they take 1.200 times as long as the table says" in said
    assert "most of the error is drift: --correct" in said
    assert catalog_of(home).devices.table("host", "debug").origin == "measured"

    corrected = run_json(*CORRECT)
    assert corrected["revision"] == 2
    table = catalog_of(home).devices.table("host", "debug")
    largest = layer_plan(DEBUG, DEBUG.largest)
    now_ms = 1.2 * FakeStopwatch().network_ms(largest)
    assert table.network_ms(largest) == pytest.approx(now_ms, rel=0.02)
    again = run_json(*CHECK)
    assert again["drift"] == pytest.approx(1, abs=0.02)
    # Drawn anew, by a seed that depends on the date in the table: of this small space, one or two
    # networks can be drawn twice.
    archs = {str(arch) for arch in corrected["measurements"]["arch"]}
    assert len(archs.intersection(map(str, again["measurements"]["arch"]))) <= len(archs) // 2
    assert "corrected: revision 3" in run(*CORRECT).stdout


@pytest.mark.slow
def test_another_machine_is_refused(run, machine, monkeypatch):
    there = dataclasses.replace(CONDITIONS, processor="another")
    monkeypatch.setattr(FakeStopwatch, "conditions", there)
    said = " ".join(run(*CHECK, code=2).stderr.split())
    assert "device 'host': its table is of another machine" in said
    assert "(processor none, here another)" in said


@pytest.mark.slow
def test_a_table_without_bounds_is_checked_all_the_same(run, run_json, home, machine):
    table = catalog_of(home).devices.table("host", "debug")
    keep(home, dataclasses.replace(table, device="bare", residual_ratios=(), expected_error=None))
    bare = ("devices", "check", "bare", *ON, "--networks", 3, "--dry-run")
    found = run_json(*bare)
    assert found["confidence"] is None
    assert found["as_timed"]["bound_held"] is None
    assert "upper bound" not in run(*bare).stdout


@pytest.mark.slow
def test_a_correction_that_is_refused_keeps_what_was_timed(run, machine, monkeypatch):
    def refuse(*_):
        raise InputError("too far off")

    monkeypatch.setattr("service.catalog.correct_device", refuse)
    assert len(json.loads(run(*CORRECT, "--json", code=2).stdout)["measurements"]) > 0
    assert "8 networks drawn anew" in run(*CORRECT, code=2).stdout


@pytest.mark.slow
def test_more_networks_than_the_space_has(run, machine):
    said = run(*CHECK, "--networks", 2000, code=2).stderr
    assert "expected 2000 different networks and 20 for the drift" in said


def test_a_device_that_is_not_there(run):
    assert "unknown device 'nothing'" in run("devices", "check", "nothing", *ON, code=2).stderr

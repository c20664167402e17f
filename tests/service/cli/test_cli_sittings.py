"""Sittings: `devices measure --sittings` and `devices check` tell how a device drifts."""

from __future__ import annotations

import json
import math

import pytest

from latency_tables.benchmark import measure
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.table.codec import table_from_json
from latency_tables.table.table import table_to_json
from tests.fake_stopwatch import FakeStopwatch
from tests.service.conftest import SUPERNET, catalog_of, keep, make_profile, make_table

ON = ("--supernet", SUPERNET, "--target-s", 0)
SITTINGS = ("devices", "measure", "host", *ON, "--apart", "0s", "--sittings")
CHECK = ("devices", "check", "host", *ON, "--networks", 8)
RATIOS = (0.97, 0.98, 0.99, 1.0, 1.0, 1.01, 1.01, 1.02, 1.03)
SEARCH = ("search", "--supernet", SUPERNET, "--latency-ms", 0.8, "--device")


@pytest.fixture
def speeds(run, monkeypatch):
    """How slow the machine is in each sitting; the first is the table's own."""
    speeds = [1.0, 1.02, 0.99, 1.03]
    opened: list[float] = []

    def stopwatch(options, _):
        speed = speeds[min(len(opened), len(speeds) - 1)]
        opened.append(speed)
        return FakeStopwatch(precision=options.precision, drift=lambda visit: speed)

    monkeypatch.setattr(measure, "RuntimeStopwatch", stopwatch)
    return speeds


def current(home, name="host"):
    return catalog_of(home).devices.table(name, "debug")


@pytest.mark.slow
def test_three_sittings_tell_the_drift(run, run_json, home, speeds):
    shown = run_json(*SITTINGS, 3)["tables"][0]
    table = current(home)
    logs = [0.0, math.log(1.02), math.log(0.99)]
    mean = sum(logs) / 3
    expected = math.sqrt(sum((log - mean) ** 2 for log in logs) / 2)
    assert [s.ratio for s in table.sittings] == pytest.approx(speeds[1:3], abs=1e-3)
    assert all(15 <= len(s.searched_ratios) <= 20 for s in table.sittings)
    assert (shown["sittings"], shown["drift_fraction"]) == (3, pytest.approx(expected, abs=1e-3))
    assert shown["revision"] == 3
    assert "3 sittings: drift between them 1." in run("devices", "show", "host").stdout
    # Exact networks on a device that drifts: the bound is the drift's alone.
    assert table.bounded_by_searched(0.9)
    assert not table.bounded_by_searched(0.98)
    assert 1.02 < table.upper_factor(0.9) < 1.08

    added = run_json(*CHECK)
    assert added["sittings"] == 4
    assert 15 <= added["searched"]["networks"] <= 20
    assert current(home).sittings[:2] == table.sittings
    search = ("search", "--supernet", SUPERNET, "--device", "host", "--latency-ms", 1.2)
    bound = run_json(*search)["provenance"]["latency_upper_ms"]
    assert (bound["sittings"], bound["coverage"]) == (4, "nominal")
    assert bound["networks_drawn"] == "from the device's front"
    assert bound["drift_fraction"] == added["drift_fraction"]


@pytest.mark.slow
def test_a_stopped_measurement_goes_on_with_its_sittings(run, home, speeds):
    run(*SITTINGS, 1)
    assert current(home).sittings == ()
    assert "measure with --replace" in run(*SITTINGS, 2, code=2).stderr
    run(*SITTINGS, 2, "--resume")
    assert [s.ratio for s in current(home).sittings] == [pytest.approx(1.02, abs=1e-3)]
    assert "measure with --replace" in run(*SITTINGS, 2, "--resume", code=2).stderr


@pytest.mark.slow
def test_one_sitting_says_that_drift_is_unknown(run, run_json, home):
    keep(home, make_table("once", residual_ratios=RATIOS))
    bound = run_json(*SEARCH, "once")["provenance"]["latency_upper_ms"]
    assert (bound["sittings"], bound["drift_fraction"]) == (1, None)
    shown = run(*SEARCH, "once").stdout
    assert "nominal coverage 90%, drift unknown" in shown
    assert "probability" not in shown
    warnings = run_json("devices", "lint", "once")["warnings"]
    (finding,) = [warning for warning in warnings if warning["kind"] == "drift"]
    assert "`subnet-search devices check` adds a sitting" in finding["detail"]
    shown = run("devices", "show", "once").stdout
    assert "1 sitting: the drift between sittings is unknown" in shown


def test_sittings_survive_profiles_and_text(run, run_json, home, tmp_path):
    sittings = [
        {"measured_at": "2026-11-27T18:00:00+00:00", "networks": 60, "ratio": 1.01},
        {"measured_at": None, "networks": 60, "ratio": 0.97, "searched_ratios": [0.96, 1.0]},
    ]
    profile = make_profile("posted", residual_ratios=list(RATIOS), sittings=sittings)
    (tmp_path / "posted.json").write_text(json.dumps(profile))
    shown = run_json("devices", "import", tmp_path / "posted.json")["tables"][0]
    assert shown["sittings"] == 3
    assert 0.015 < shown["drift_fraction"] < 0.025
    table = current(home, "posted")
    assert table_from_json(table_to_json(table)) == table
    assert table.upper_factor(0.9) > RATIOS[-1]
    warnings = run_json("devices", "lint", "posted")["warnings"]
    assert "drift" not in {warning["kind"] for warning in warnings}


@pytest.mark.parametrize(
    ("sitting", "words"),
    [
        ({"networks": 3, "ratio": 1.0}, "measured_at"),
        ({"measured_at": "yesterday", "networks": 3, "ratio": 1.0}, "expected ISO 8601"),
        ({"measured_at": None, "networks": 0, "ratio": 1.0}, "networks"),
        ({"measured_at": None, "networks": 3, "ratio": -1.0}, "ratio"),
        ({"measured_at": None, "networks": 3, "ratio": 1.0, "searched_ratios": [0]}, "searched"),
        ({"measured_at": None, "networks": 3, "ratio": 1.0, "more": 1}, "more"),
        ("three", "object"),
    ],
)
def test_bad_sittings_are_refused(run, tmp_path, sitting, words):
    path = tmp_path / "posted.json"
    path.write_text(json.dumps(make_profile("posted", sittings=[sitting])))
    said = run("devices", "import", path, code=2).stderr
    assert "sittings[0]" in said
    assert words in said


@pytest.mark.slow
def test_a_correction_keeps_the_drift_seen_before(run, run_json, home, monkeypatch):
    def stopwatch(options, _):
        return FakeStopwatch(precision=options.precision, drift=lambda visit: 1.05)

    fake = measure.measure_space(
        catalog_of(home).supernets.get(SUPERNET).space,
        options=MeasureOptions(device="host", target_s=0, networks=12),
        stopwatch=FakeStopwatch(),
    )
    keep(home, fake)
    monkeypatch.setattr(measure, "RuntimeStopwatch", stopwatch)
    found = run_json(*CHECK, "--correct")
    assert found["sittings"] == 2
    (own,) = current(home).sittings
    assert own.ratio == pytest.approx(1 / 1.05, abs=2e-3)
    assert own.networks == len(fake.residual_ratios)


def test_durations_and_contradictions(run):
    said = run("devices", "measure", "host", *ON, "--apart", "soon", code=2).stderr
    assert "--apart: expected a duration such as 90s, 10m or 2h, got 'soon'" in said
    said = run(*CHECK, "--correct", "--dry-run", code=2).stderr
    assert "choose one" in said


@pytest.mark.slow
def test_each_batch_is_a_device_of_its_own(run, home, monkeypatch):
    """Two batches in one go; what was measured before a stop is not measured again."""
    opened = []

    def stopwatch(options, _):
        opened.append((options.device, options.batch))
        return FakeStopwatch(drift=lambda visit: options.batch)

    monkeypatch.setattr(measure, "RuntimeStopwatch", stopwatch)
    both = ("devices", "measure", "host", *ON, "--batch", 4, "--batch", 1)
    run(*both[:-2])
    refused = run(*both, code=2).stderr
    assert "device 'host' has a table" in refused
    said = run(*both, "--resume", "--json")
    assert opened == [("host", 4), ("host-batch-1", 1)]
    assert "batch 1 is device host-batch-1" in said.stderr
    assert [device["name"] for device in json.loads(said.stdout)] == ["host", "host-batch-1"]
    assert "measure with --replace" in run(*both, "--resume", code=2).stderr

"""What `devices` commands say of a table: its warnings, on stderr and in the JSON document."""

from __future__ import annotations

import json
import re

import pytest

from latency_tables.runtimes import find_runtime
from latency_tables.table.table import Note
from tests.service.conftest import SUPERNET, keep, make_profile, make_table
from tests.spaces import DEBUG

UNTIMED = "additivity: no whole network was timed"


def warnings_of(result):
    return [line for line in result.stderr.splitlines() if line.startswith("warning:")]


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "phone.json"
    path.write_text(json.dumps(make_profile("phone")))
    return path


def test_warnings_are_printed_when_a_table_comes_in_and_when_it_is_shown(run, run_json, profile):
    for result in (run("devices", "import", profile), run("devices", "show", "phone")):
        wanted = f"warning: phone for space {DEBUG.name} at fp32: {UNTIMED}"
        assert any(line.startswith(wanted) for line in warnings_of(result)), result.stderr
        assert UNTIMED not in result.stdout
    assert "additivity" in {item["kind"] for item in run_json("devices", "show", "phone")["lint"]}


@pytest.mark.slow
def test_a_table_of_one_sitting_is_told_of_its_drift_alone(run):
    warnings = warnings_of(run("devices", "show", "google-pixel"))
    assert warnings
    assert all(": drift: " in line for line in warnings)


@pytest.mark.slow
def test_what_makes_a_table_doubtful_is_told_with_every_prediction(run, run_json, home, tmp_path):
    """On stderr, in the answer, and where the device is shown."""
    ratios = (*[1.0] * 9, 2.0)
    note = Note("trend", "networks take 1.50 times as long at the end")
    keep(home, make_table("odd", residual_ratios=ratios, notes=(note,)))
    on = ("--supernet", SUPERNET, "--device", "odd")
    archs = tmp_path / "archs.json"
    archs.write_text(json.dumps([DEBUG.smallest.to_json()]))
    bound = "warning: the device's table: at a nominal 90% a network takes at most 2 times"
    for told in (
        run("predict", *on, "--archs", archs),
        run("front", *on),
        run("search", *on, "--latency-ms", 1),
    ):
        lines = [line for line in warnings_of(told) if "the device's table" in line]
        assert lines[0] == f"warning: the device's table: {note.text}"
        assert lines[1].startswith(bound)
    found = run_json("search", *on, "--latency-ms", 1)["provenance"]["latency_ms"]["warnings"]
    assert found[0] == note.text
    lint = run_json("devices", "show", "odd")["lint"]
    assert {item["kind"] for item in lint} >= {"trend", "bound"}


def test_runtimes_are_listed_with_what_each_needs(run, run_json, monkeypatch):
    found = {runtime["name"]: runtime for runtime in run_json("runtimes", "list")}
    assert found["onnxruntime"]["available"]
    assert "CPUExecutionProvider" in found["onnxruntime"]["providers"]
    monkeypatch.setattr(type(find_runtime("openvino")), "conditions", _missing)
    shown = run("runtimes", "list").stdout
    assert re.search(r"^openvino +not installed +OpenVINO on ", shown, re.M)
    assert "openvino: pip install 'subnet-search[openvino]'" in shown
    (found,) = [item for item in run_json("runtimes", "list") if item["name"] == "openvino"]
    assert (found["available"], found["version"], found["providers"]) == (False, None, [])


def _missing(self, provider, threads):
    raise ValueError("openvino cannot be imported")

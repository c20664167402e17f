"""What `devices` commands say of a table: its warnings, on stderr and in the JSON document."""

from __future__ import annotations

import json

import pytest

from tests.service.conftest import DEVICE, make_profile
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
        (line,) = warnings_of(result)
        assert line.startswith(f"warning: phone for space {DEBUG.name} at fp32: {UNTIMED}")
        assert UNTIMED not in result.stdout
    (finding,) = run_json("devices", "show", "phone")["lint"]
    assert finding["kind"] == "additivity"


def test_a_table_without_findings_prints_no_warning(run):
    assert warnings_of(run("devices", "show", DEVICE)) == []

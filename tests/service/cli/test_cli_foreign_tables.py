"""`devices keys`, and `devices import` of tables in others' formats."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from latency_tables.table.table import space_layers
from models.spaces import layer_plan
from service.catalog import open_catalog
from service.settings import Settings
from tests.service.conftest import SUPERNET, make_table
from tests.spaces import DEBUG

TIMES_MS = {key: entry.p50_ms for key, entry in make_table().entries.items()}


def table_of(home, name, precision=None):
    return open_catalog(Settings(home=home)).devices.table(name, DEBUG.name, precision)


def fill(text, factor=1.0):
    header, *rows = csv.reader(io.StringIO(text))
    out = io.StringIO()
    csv.writer(out).writerows([header, *([*r[:-1], TIMES_MS[r[0]] * factor] for r in rows)])
    return out.getvalue()


@pytest.fixture
def filled(run, tmp_path):
    path = tmp_path / "filled.csv"
    path.write_text(fill(run("devices", "keys", SUPERNET).stdout))
    return path


def test_keys_are_printed_filled_in_and_imported(run, home, filled):
    done = run("devices", "import", "board", "--space", SUPERNET, filled)
    assert f"board for space debug: {len(TIMES_MS)} layers, measured" in done.stdout
    assert "additivity" in done.stderr
    table = table_of(home, "board")
    assert {key: entry.p50_ms for key, entry in table.entries.items()} == TIMES_MS
    run("devices", "import", "board", "--space", SUPERNET, filled, code=2)
    run("devices", "import", "board", "--space", SUPERNET, filled, "--replace")


def test_keys_as_json_and_as_a_file(run, run_json, tmp_path):
    found = run_json("devices", "keys", SUPERNET, "--resolution", 12)
    assert found["space"] == DEBUG.name
    assert [row["key"] for row in found["keys"]] == list(space_layers(DEBUG.at([12])))
    assert found["keys"][0]["resolutions"] == [12]
    out = tmp_path / "keys.csv"
    assert "fill in latency_ms" in run("devices", "keys", SUPERNET, "-o", out).stdout
    assert out.read_text() == run("devices", "keys", SUPERNET).stdout
    assert out.read_text() == run("devices", "keys", DEBUG.name).stdout


def test_a_space_of_one_s_own(run, tmp_path):
    space = tmp_path / "mine.toml"
    lines = [
        'family = "mobile"', 'name = "mine"', "channels = 1", "classes = 10", "resolutions = [8]",
        "kernels = [3]", "expands = [3]", "stem_width = 8", "stem_stride = 1", "first_width = 8",
        'first_act = "relu"', "head_width = 32", "feature_width = 0", 'act = "relu"',
        'stages = [{width = 8, stride = 2, act = "relu", se = false, depths = [1, 2]}]',
    ]  # fmt: skip
    space.write_text("\n".join(lines))
    header, *rows = run("devices", "keys", space).stdout.splitlines()
    table = tmp_path / "times.csv"
    table.write_text("\n".join([header, *(f"{row}0.5" for row in rows)]))
    done = run("devices", "import", "board", "--space", space, table)
    assert f"board for space mine: {len(rows)} layers" in done.stdout


def test_what_is_not_taken_is_listed_whole_in_json_and_bounded_on_the_screen(
    run, run_json, tmp_path, filled
):
    strange = [f"strange{i},{'' if i else 3}" for i in range(15)]
    text = filled.read_text().splitlines()
    columns = text[0].count(",")
    commas = "," * columns
    filled.write_text("\n".join([*text, *(s.replace(",", commas) for s in strange)]))
    done = run("devices", "import", "board", "--space", SUPERNET, filled)
    lines = [line for line in done.stderr.splitlines() if line.startswith("not taken: ")]
    assert len(lines) == 11
    assert f"filled.csv: line {len(text) + 1}: 'strange0': the name states no shape" in lines[0]
    assert "it has no time" in lines[1]
    assert "not taken: 5 more, which --json lists" in lines[-1]
    found = run_json("devices", "import", "again", "--space", SUPERNET, filled)
    assert found["name"] == "again"
    assert [row["name"] for row in found["unmapped"]] == [f"strange{i}" for i in range(15)]
    assert set(found["unmapped"][0]) == {"file", "line", "name", "why"}
    assert any("15 rows of no layer" in warning for warning in found["warnings"])
    assert any("no whole network was timed" in warning for warning in found["warnings"])


def test_missing_layers_are_listed(run, tmp_path, filled):
    text = filled.read_text().splitlines()
    filled.write_text("\n".join([*text[:3], *text[5:], "odd" + "," * text[0].count(",") + "1"]))
    words = ("devices", "import", "board", "--space", SUPERNET, filled)
    refused = run(*words, code=2)
    assert "2 layers of space 'debug' are missing" in refused.stderr
    assert "'odd'" in refused.stderr
    assert f"missing: {text[3].partition(',')[0]}\n" in refused.stderr
    found = json.loads(run(*words, "--json", code=2).stdout)
    assert found["missing"] == [row.split(",")[0] for row in text[3:5]]
    assert [row["name"] for row in found["unmapped"]] == ["odd"]
    assert "unknown device" in run("devices", "show", "board", code=2).stderr


def test_a_wrong_unit_is_named(run, home, tmp_path):
    rows = "\n".join(f"{key},{1e6 * ms}" for key, ms in TIMES_MS.items())
    path = tmp_path / "ns.csv"
    path.write_text(rows)
    words = ("devices", "import", "board", "--space", SUPERNET, path)
    assert "import them with --unit us" in run(*words, code=2).stderr
    path.write_text("\n".join(f"{key},{1e3 * ms}" for key, ms in TIMES_MS.items()))
    run(*words, "--unit", "us")
    assert table_of(home, "board").network_ms(layer_plan(DEBUG, DEBUG.largest)) > 0
    assert "expected one of" in run(*words, "--unit", "min", code=2).stderr


def test_mapping_precision_and_resolution(run, home, tmp_path):
    names = {key: f"block {i}" for i, key in enumerate(space_layers(DEBUG.at([12])))}
    path, mapping = tmp_path / "fpga.csv", tmp_path / "names.csv"
    path.write_text("\n".join(f"{name};{TIMES_MS[key]}" for key, name in names.items()))
    mapping.write_text("\n".join(f"{name},{key}" for key, name in names.items()))
    run(
        "devices", "import", "fpga", "--space", SUPERNET, path, "--mapping", mapping,
        "--precision", "int8", "--resolution", 12,
    )  # fmt: skip
    assert table_of(home, "fpga", "int8").covered(DEBUG).resolutions == (12,)
    for options, text in (
        (("--mapping", tmp_path / "none"), "found none"),
        (("--precision", "int3"), "precision: expected one of"),
        (("--resolution", 9), "no resolution of [9]"),
        (("--ofa-lut", path), "not both"),
    ):
        named = () if options[0] == "--mapping" else ("--mapping", mapping)
        words = ("devices", "import", "f2", "--space", SUPERNET, path, *named, *options)
        assert text in " ".join(run(*words, code=2).stderr.split())


@pytest.mark.slow
def test_profiles_of_whole_networks_are_fitted(run_json, tmp_path):
    rows = np.unique(DEBUG.sample(60, np.random.default_rng(1)), axis=0)
    for i, arch in enumerate(DEBUG.decode(rows)[:30]):
        time_us = 2e3 * make_table().network_ms(layer_plan(DEBUG, arch))
        profile = {
            "execution_summary": {"estimated_inference_time": time_us},
            "execution_detail": [],
            "arch": arch.to_json(),
        }
        (tmp_path / f"{i}.json").write_text(json.dumps(profile))
    found = run_json("devices", "fit", "phone", "--space", DEBUG.name, "--measurements", tmp_path)
    assert found["tables"][0]["origin"] == "fitted"

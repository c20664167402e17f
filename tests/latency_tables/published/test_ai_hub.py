"""Profiles of AI Hub, in the documented shape: whole networks for a fit, and layers by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.published.ai_hub import is_ai_hub, read_ai_hub
from latency_tables.published.assembly import IncompleteTable
from latency_tables.published.formats import read_foreign_table
from models.errors import InputError, NotFound
from models.spaces import layer_plan
from tests.spaces import DEBUG

ARCHS = DEBUG.decode(DEBUG.sample(4, np.random.default_rng(0)))


def profile(time_us=1500, operators=(), **fields):
    """As `download_profile` returns it, shortened."""
    return {
        "execution_summary": {
            "estimated_inference_time": time_us,
            "estimated_inference_peak_memory": 23_003_136,
            "first_load_time": 102_000,
            "all_inference_times": [time_us] * 2,
        },
        "execution_detail": [
            {
                "name": name,
                "type": "Conv",
                "compute_unit": "NPU",
                "execution_time": us,
                "execution_cycles": us * 99,
            }
            for name, us in operators
        ],
        **fields,
    }


def write(path, value):
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize("way", ["field", "beside", "list"])
def test_the_user_says_which_network_a_profile_is_of(tmp_path, way):
    path = tmp_path
    for i, arch in enumerate(ARCHS):
        own = {"arch": arch.to_json()} if way == "field" else {}
        write(tmp_path / f"job{i}.json", profile(1000 * (i + 1), **own))
        if way == "beside":
            found = arch.to_json() if i else {"arch": arch.to_json(), "top1": 70.0}
            write(tmp_path / f"job{i}.arch.json", found)
    if way == "list":
        names = [f"job{i}.json" for i in range(len(ARCHS))]
        archs = [arch.to_json() for arch in ARCHS]
        path = write(tmp_path / "profiles.json", {"profile": names, "arch": archs})
    assert is_ai_hub(path)
    networks = WholeNetworks.from_json(read_ai_hub(path), DEBUG)
    assert networks.archs == tuple(ARCHS)
    assert networks.latency_ms_N.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_one_profile_alone(tmp_path):
    path = write(tmp_path / "job.json", profile(arch=ARCHS[0].to_json()))
    assert read_ai_hub(path) == {"arch": [ARCHS[0].to_json()], "latency_ms": [1.5]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (profile(), r"job\.json: nothing says which network .* field `arch`.* job\.arch\.json"),
        (profile(0, arch={}), "expected microseconds above 0, got 0"),
        (profile(-1, arch={}), "expected microseconds above 0, got -1"),
        (profile("fast", arch={}), "expected microseconds above 0, got 'fast'"),
        (profile(1e300, arch={}), "expected microseconds above 0"),
        ({"execution_summary": {}, "arch": {}}, "got None"),
        ({**profile(arch={}), "execution_detail": 3}, "expected a list"),
        ({"profile": ["a.json"], "arch": []}, "lists profile and arch of equal length"),
        ({"profile": [3], "arch": [{}]}, r"profile\[0\]: expected a file's name"),
        ({"profile": [], "arch": []}, "expected 1 to"),
        ({"profile": ["job.json"], "arch": [{}]}, "expected a profile of AI Hub"),
    ],
)
def test_what_does_not_hold_is_named(tmp_path, value, words):
    path = write(tmp_path / "job.json", value)
    with pytest.raises(InputError, match=words):
        read_ai_hub(path)


def test_a_profile_of_a_list_that_does_not_exist(tmp_path):
    path = write(tmp_path / "list.json", {"profile": ["none.json"], "arch": [{}]})
    with pytest.raises(NotFound, match=r"none\.json"):
        read_ai_hub(path)


def test_other_files_are_no_profiles(tmp_path):
    for name, content in {
        "a.json": "{}",
        "b.json": '{"execution_summary": 3}',
        "c": "words",
    }.items():
        (tmp_path / name).write_text(content)
        assert not is_ai_hub(tmp_path / name)
    assert not is_ai_hub(tmp_path)


def operators_of(arch, factor=1):
    """Two operators a layer, as our ONNX files name them, and one of nothing in our files."""
    layers = layer_plan(DEBUG, arch)
    for layer in layers:
        half_us = factor * (50 + layer.macs / 100) / 2
        yield f"/{layer.name}.expand/Conv", half_us
        yield f"{layer.name}.project", half_us
    yield "input_transfer", 7


def test_layers_are_found_by_the_names_of_our_files(tmp_path):
    """Those of several networks have the mean of their times."""
    for i, arch in enumerate(DEBUG.covering()):
        factor = 1 if arch.resolution == 8 or i % 2 else 3
        own = profile(9000, operators_of(arch, factor), arch=arch.to_json())
        write(tmp_path / f"job{i}.json", own)
    imported = read_foreign_table(tmp_path, DEBUG, device="d", source="s")
    assert imported.table.missing(DEBUG) == []
    assert {row.name for row in imported.unmapped} == {"input_transfer"}
    plan = layer_plan(DEBUG, DEBUG.smallest)
    expected = sum(50 + layer.macs / 100 for layer in plan) / 1e3
    assert imported.table.network_ms(plan) == pytest.approx(expected)
    stem = layer_plan(DEBUG, DEBUG.largest)[0]
    entry = imported.table.entry(stem)
    assert entry is not None
    assert entry.p50_ms == pytest.approx(2 * (50 + stem.macs / 100) / 1e3)
    assert entry.count == 4


def test_layers_of_too_few_networks_are_refused(tmp_path):
    own = profile(9000, operators_of(ARCHS[0]), arch=ARCHS[0].to_json())
    path = write(tmp_path / "job.json", own)
    with pytest.raises(IncompleteTable, match="layers of space 'debug' are missing"):
        read_foreign_table(path, DEBUG, device="d", source="s")
    write(path, profile(9000, [("node_1", 5)], arch=ARCHS[0].to_json()))
    with pytest.raises(InputError, match="no operator has the name of a layer; .*devices fit"):
        read_foreign_table(path, DEBUG, device="d", source="s")
    write(path, profile(9000, [], arch={"resolution": 9}))
    with pytest.raises(InputError, match=r"job\.json: arch"):
        read_foreign_table(path, DEBUG, device="d", source="s")

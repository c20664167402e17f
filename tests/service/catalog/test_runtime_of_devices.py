"""A device is hardware and a runtime: times of one runtime are never used for another."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.table.conditions import Conditions
from latency_tables.table.names import HEAD_CHARS, runtime_in
from latency_tables.table.table import table_to_json
from models.schema import MAX_TEXT, is_text
from models.spaces.plan import layer_plan
from tests.service.conftest import (
    DEVICE,
    SUPERNET,
    catalog_of,
    client_on,
    keep,
    make_profile,
    make_table,
)
from tests.spaces import DEBUG

OTHER = "openvino"
CONDITIONS = Conditions(runtime=OTHER, precision="fp32", batch=1)
ON = ("--supernet", SUPERNET, "--device", DEVICE)


def networks(count=12, **changes):
    rows = np.unique(DEBUG.sample(4 * count, np.random.default_rng(0)), axis=0)
    archs = DEBUG.decode(np.random.default_rng(0).permutation(rows)[:count])
    times = [1.1 * make_table().network_ms(layer_plan(DEBUG, arch)) for arch in archs]
    return {"arch": [arch.to_json() for arch in archs], "latency_ms": times, **changes}


def asked(device=DEVICE, **changes):
    return {
        "supernet": SUPERNET,
        "device": device,
        "constraints": {"latency_ms": 0.8},
        **changes,
    }


@pytest.fixture
async def client(settings):
    async with client_on(settings) as client:
        yield client


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("device", [DEVICE, make_profile("inline")])
async def test_a_search_for_another_runtime_is_refused_with_what_to_do(client, device):
    answer = await client.post("/v1/searches", json=asked(device, runtime=OTHER))
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    name = DEVICE if device is DEVICE else "inline"
    assert f"runtime: device '{name}' was measured with fake; for openvino measure it" in detail
    assert f"`subnet-search devices measure {name}-openvino --supernet {SUPERNET} " in detail
    assert (await client.get("/v1/searches")).json()["items"] == []


@pytest.mark.anyio
async def test_a_search_for_the_devices_runtime_is_the_same_search(client):
    first = (await client.post("/v1/searches", json=asked())).json()
    again = (await client.post("/v1/searches", json=asked(runtime="fake"))).json()
    assert again["id"] == first["id"]
    for wrong in ("", 3, "x" * 65):
        answer = await client.post("/v1/searches", json=asked(runtime=wrong))
        assert answer.status_code == 422


@pytest.mark.anyio
async def test_measurements_of_another_runtime_correct_nothing(client):
    path = f"/v1/devices/{DEVICE}/measurements"
    refused = await client.post(path, json=networks(runtime=OTHER))
    assert refused.status_code == 422
    assert "measurements.runtime: expected 'fake', which the device is" in refused.json()["detail"]
    for stated in ({"runtime": "fake"}, {}):
        answer = await client.post(path, json=networks(**stated))
        assert answer.status_code == 200, answer.text
        assert answer.json()["tables"][0]["conditions"]["runtime"] == "fake"


@pytest.mark.anyio
async def test_a_profile_of_two_runtimes_is_refused(client):
    head = {key: value for key, value in make_profile("board").items() if key != "table"}
    profile = {**head, "measurements": networks(runtime=OTHER)}
    answer = await client.post("/v1/devices", json=profile)
    assert answer.status_code == 422
    assert "measurements.runtime: expected 'fake'" in answer.json()["detail"]


@pytest.mark.anyio
async def test_one_name_has_one_runtime(client):
    assert (await client.post("/v1/devices", json=make_profile("board"))).status_code == 201
    answer = await client.post("/v1/devices", json=make_profile("board", runtime=OTHER))
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        f"device 'board' has a table for space {DEBUG.name!r} at fp32, of fake: a device is "
        "hardware and a runtime, so choose another name for openvino, such as board-openvino"
    )


@pytest.mark.anyio
async def test_a_donor_of_another_runtime_is_named(client):
    head = {key: value for key, value in make_profile("board").items() if key != "table"}
    profile = {**head, "runtime": OTHER, "measurements": networks(4), "donor": DEVICE}
    answer = await client.post("/v1/devices", json=profile)
    assert answer.status_code == 201, answer.text
    (table,) = answer.json()["tables"]
    assert f"near the costs of device '{DEVICE}' under another runtime (fake)" in table["source"]
    assert table["conditions"]["runtime"] == OTHER


def test_commands_refuse_another_runtime(run, run_json, tmp_path):
    said = run("search", *ON, "--latency-ms", 0.8, "--runtime", OTHER, code=2).stderr
    assert f"runtime: device '{DEVICE}' was measured with fake; for openvino" in said
    found = run_json("search", *ON, "--latency-ms", 0.8, "--runtime", "fake")
    assert found["runtime"] == found["provenance"]["latency_ms"]["conditions"]["runtime"] == "fake"

    (tmp_path / "arch.json").write_text(json.dumps(found))
    export = ("export", "--supernet", SUPERNET, "--arch", tmp_path / "arch.json")
    out = tmp_path / "model.onnx"
    said = run(*export, "-o", out, "--device", DEVICE, "--runtime", OTHER, code=2).stderr
    assert "was measured with fake; for openvino measure it" in said
    assert "name it with --device" in run(*export, "-o", out, "--runtime", "fake", code=2).stderr
    assert not out.exists()


def test_a_file_of_whole_networks_may_say_what_ran_them(run, run_json, tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(networks(runtime=OTHER)))
    fit = ("devices", "fit", "board", "--space", DEBUG.name, "--measurements", path)
    said = run(*fit, "--runtime", "fake", code=2).stderr
    assert "measurements.runtime: expected 'fake', which the device is measured with" in said
    run(*fit)
    (table,) = run_json("devices", "show", "board")["tables"]
    assert table["conditions"]["runtime"] == OTHER


def test_devices_are_listed_with_their_runtimes(run, run_json, home):
    keep(home, make_table("board", conditions=CONDITIONS))
    keep(home, make_table("board", conditions=replace(CONDITIONS, precision="int8")))
    listed = {item["name"]: item["runtimes"] for item in run_json("devices", "list")}
    assert listed["board"] == {DEBUG.name: {"fp32": OTHER, "int8": OTHER}}
    assert listed["cpu-x86-64-ort"]["fashion-mbv3"]["fp32"] == "onnxruntime"
    assert listed["google-pixel"]["ofa-mbv3-w1.0"]["fp32"] == "not stated"
    assert re.search(rf"^board +{DEBUG.name} +openvino$", run("devices", "list").stdout, re.M)
    keep(home, make_table("board", conditions=replace(CONDITIONS, runtime="ncnn")), replace=True)
    assert catalog_of(home).devices.runtimes()["board", (DEBUG.name, "fp32")] == "ncnn"


@given(st.text(max_size=50).filter(is_text), st.text(max_size=50).filter(is_text))
def test_the_runtime_is_read_from_a_tables_head(runtime, source):
    """Whatever else the head says."""
    table = make_table(conditions=replace(CONDITIONS, runtime=runtime), source=source)
    assert runtime_in(table_to_json(table)[:HEAD_CHARS]) == runtime
    assert runtime_in(table_to_json(table)[:60]) is None


def test_a_head_with_a_longest_source_has_the_conditions():
    for source in ("x" * MAX_TEXT, "\x7e\u00e9" * (MAX_TEXT // 2)):
        table = make_table(conditions=CONDITIONS, source=source)
        assert runtime_in(table_to_json(table)[:HEAD_CHARS]) == OTHER

"""A table for a batch of eight images says so wherever its milliseconds are shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from service.contracts.searches import SearchResult
from tests.service.conftest import SUPERNET, catalog_of, client_on, keep, make_profile, make_table
from tests.spaces import DEBUG

BATCH = 8
ON = ("--supernet", SUPERNET, "--device", "eight")


@pytest.fixture
def eight(home):
    table = make_table("eight")
    conditions = replace(table.conditions, batch=BATCH)
    keep(home, replace(table, conditions=conditions, residual_ratios=(1.0,) * 9))


@pytest.mark.slow
def test_commands(run, run_json, eight, tmp_path):
    found = run_json("search", *ON, "--latency-ms", 0.8)
    assert found["batch"] == BATCH
    assert found["latency_ms_per_image"] == pytest.approx(found["latency_ms"] / BATCH)
    shown = run("search", *ON, "--latency-ms", 0.8).stdout
    for words in ("latency_ms (8 images)", "latency_ms (1 image)", "latency_upper_ms (8 images)"):
        assert words in shown
    assert "times are predicted for 8 images under fake" in shown

    (tmp_path / "archs.json").write_text(json.dumps([found["arch"]]))
    (row,) = run_json("predict", *ON, "--archs", tmp_path / "archs.json")
    assert (row["batch"], row["latency_ms_per_image"]) == (BATCH, found["latency_ms_per_image"])
    assert "latency_ms (1 image)" in run("predict", *ON, "--archs", tmp_path / "archs.json").stdout

    front = run_json("front", *ON)
    assert front["batch"] == BATCH
    for point in front["points"]:
        assert point["latency_ms_per_image"] == pytest.approx(point["latency_ms"] / BATCH)
    assert "latency_ms (8 images)  latency_ms (1 image)" in run("front", *ON).stdout
    assert "latency_ms (8 images) under fake; " in run("front", *ON, "--plot").stdout
    for asked in (("search", *ON), ("front", *ON)):
        said = run(*asked, "--latency-ms", 0.001, code=2).stderr
        assert "for a batch of 8 images" in " ".join(said.split())
    fleet = ("fleet", "--supernet", SUPERNET, "--on", "eight=0.8")
    assert " for 8 images" in run(*fleet).stdout
    at = run_json(*fleet)["networks"][0]["devices"]["eight"]
    assert at["latency_ms_per_image"] == pytest.approx(at["latency_ms"] / BATCH)


@pytest.mark.slow
def test_one_image_is_shown_as_ever(run, run_json, home):
    keep(home, make_table("one"))
    front = run("front", "--supernet", SUPERNET, "--device", "one").stdout
    assert front.splitlines()[0].split() == ["latency_ms", "top1", "macs", "params"]
    assert "image" not in front


@pytest.mark.slow
@pytest.mark.anyio
async def test_over_http(settings):
    device = make_profile("eight", batch=BATCH)
    request = {"supernet": SUPERNET, "device": device, "constraints": {"latency_ms": 0.001}}
    async with client_on(settings) as client:
        assert (await client.post("/v1/devices", json=device)).status_code == 201
        url = f"/v1/supernets/{SUPERNET}/devices/eight/front"
        front = (await client.get(url)).json()
        assert front["batch"] == BATCH
        refused = (await client.post("/v1/searches", json=request)).json()
        assert "for a batch of 8 images" in refused["detail"]
        arch = json.dumps(DEBUG.smallest.to_json())
        url = f"/v1/supernets/{SUPERNET}/devices/eight/explain"
        explained = (await client.get(url, params={"arch": arch})).json()
        assert explained["batch"] == BATCH
        assert explained["latency_ms_per_image"] == pytest.approx(explained["latency_ms"] / BATCH)


def test_results_of_earlier_versions_say_it_too(home):
    context = catalog_of(home).context(SUPERNET, None)
    stored = {
        **context.describe(DEBUG.smallest),
        "latency_ms": 4.0,
        "layers": [],
        "verified": {},
        "provenance": {"latency_ms": {"conditions": {"batch": BATCH}}},
        "search": {},
        "model_bytes": 1,
        "sha256": "0" * 64,
    }
    result = SearchResult.model_validate(stored)
    assert (result.batch, result.latency_ms_per_image) == (BATCH, 0.5)

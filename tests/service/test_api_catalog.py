"""Supernets and devices over HTTP."""

from __future__ import annotations

import pytest

from tests.service.conftest import DEVICE, SUPERNET, client_on, make_profile
from tests.spaces import DEBUG

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(settings):
    async with client_on(settings) as client:
        yield client


async def test_supernets(client):
    items = (await client.get("/v1/supernets")).json()["items"]
    (item,) = [item for item in items if item["name"] == SUPERNET]
    assert (item["space"], item["architectures"], item["searchable"]) == ("debug", 800, True)
    one = (await client.get(f"/v1/supernets/{SUPERNET}")).json()
    assert one["space"] == {**DEBUG.to_json(), **one["space"]}
    assert one["sha256"] == item["sha256"]
    assert one["predictor"]["rmse"] >= 0
    assert one["card"]["licence"] == "none"


async def test_devices(client):
    names = [item["name"] for item in (await client.get("/v1/devices")).json()["items"]]
    assert DEVICE in names
    one = (await client.get(f"/v1/devices/{DEVICE}")).json()
    (table,) = one["tables"]
    assert (table["origin"], table["expected_error"], table["layers"]) == ("measured", 0.04, 42)


async def test_a_posted_device_can_be_searched(client):
    answer = await client.post("/v1/devices", json=make_profile("phone"))
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/devices/phone")
    assert answer.json()["tables"][0]["conditions"]["threads"] == 1
    assert any("no whole network was timed" in f for f in answer.json()["findings"])
    assert (await client.get("/v1/devices/phone")).json() == answer.json()
    request = {"supernet": SUPERNET, "device": "phone", "constraints": {"latency_ms": 0.8}}
    assert (await client.post("/v1/searches", json=request)).status_code == 202


async def test_a_device_is_not_overwritten(client):
    assert (await client.post("/v1/devices", json=make_profile("phone"))).status_code == 201
    again = await client.post("/v1/devices", json=make_profile("phone", network_overhead_ms=9.0))
    assert again.status_code == 409
    assert (await client.get("/v1/devices/phone")).json()["tables"][0]["network_overhead_ms"] == 0


async def test_times_in_another_unit_are_noticed(client):
    table = {key: {"p50_ms": ms["p50_ms"] * 1e5} for key, ms in make_profile()["table"].items()}
    answer = await client.post("/v1/devices", json=make_profile("slow", table=table))
    assert any("are the times milliseconds?" in f for f in answer.json()["findings"])


async def test_a_table_with_gaps_is_kept_but_not_searched(client):
    whole = make_profile()["table"]
    gaps = dict(list(whole.items())[:-3])
    answer = await client.post("/v1/devices", json=make_profile("gaps", table=gaps))
    assert any("3 layers of the space are missing" in f for f in answer.json()["findings"])
    request = {"supernet": SUPERNET, "device": "gaps", "constraints": {"latency_ms": 0.8}}
    refused = await client.post("/v1/searches", json=request)
    assert refused.status_code == 422
    assert "lacks 3 of the 42 layers" in refused.json()["detail"]


async def test_front(client):
    answer = await client.get(f"/v1/supernets/{SUPERNET}/devices/{DEVICE}/front")
    front = answer.json()
    assert answer.status_code == 200
    points = front["points"]
    latencies, top1s = [p["latency_ms"] for p in points], [p["top1"] for p in points]
    assert latencies == sorted(set(latencies))
    assert top1s == sorted(set(top1s))
    assert front["expected_error"]["latency_ms"] == 0.04
    # A search at a point's budget finds nothing better, and the first point is the floor.
    low = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 1e-6}}
    floor = (await client.post("/v1/searches", json=low)).json()["floor"]
    assert latencies[0] == pytest.approx(floor)


async def test_measurements_are_not_available_yet(client):
    answer = await client.post(f"/v1/devices/{DEVICE}/measurements", json={"arch": []})
    assert (answer.status_code, answer.json()["title"]) == (501, "Not available")

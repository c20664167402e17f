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
    findings = {(f["severity"], f["kind"]) for f in answer.json()["lint"]}
    assert findings == {("warning", "additivity"), ("warning", "order")}
    assert (await client.get("/v1/devices/phone")).json() == answer.json()
    request = {"supernet": SUPERNET, "device": "phone", "constraints": {"latency_ms": 0.8}}
    assert (await client.post("/v1/searches", json=request)).status_code == 202


async def test_a_device_is_not_overwritten(client):
    assert (await client.post("/v1/devices", json=make_profile("phone"))).status_code == 201
    again = await client.post("/v1/devices", json=make_profile("phone", network_overhead_ms=9.0))
    assert again.status_code == 409
    assert (await client.get("/v1/devices/phone")).json()["tables"][0]["network_overhead_ms"] == 0


def scaled(factor):
    return {key: {"p50_ms": ms["p50_ms"] * factor} for key, ms in make_profile()["table"].items()}


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("unit", {"table": scaled(1e4)}, "are the times microseconds"),
        ("unit", {"table": scaled(1e-4)}, "are the times seconds"),
        ("missing", {"table": dict(list(scaled(1).items())[:-3])}, "3 layers of the space are"),
        (
            "spread",
            {"table": {k: {**ms, "std_ms": 2 * ms["p50_ms"]} for k, ms in scaled(1).items()}},
            "vary by 200%",
        ),
        ("additivity", {"expected_error": 0.5}, "50% off on average"),
    ],
)
async def test_a_bad_table_is_refused_with_its_reasons(client, kind, changes, words):
    refused = await client.post("/v1/devices", json=make_profile("bad", **changes))
    problem = refused.json()
    assert (refused.status_code, problem["title"]) == (422, "Bad table")
    assert refused.headers["Content-Type"] == "application/problem+json"
    (reason,) = problem["errors"]
    assert reason["kind"] == kind
    assert words in reason["detail"]
    assert words in problem["detail"]
    assert (await client.get("/v1/devices/bad")).status_code == 404


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

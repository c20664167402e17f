"""Limits as people think of them: shares, ranges, a target accuracy, frozen parts."""

from __future__ import annotations

import pytest

from tests.service.conftest import DEVICE, SUPERNET

pytestmark = pytest.mark.anyio
WAIT = {"Prefer": "wait=30"}
ON = {"supernet": SUPERNET, "device": DEVICE}


@pytest.mark.slow
async def test_shares_ranges_targets_and_frozen_parts(busy):
    """Each is stored in its units and as it was given; the answer keeps to it."""
    wanted = {
        "latency_ms": {"min": "10%", "max": "90%"},
        "macs": "80%",
    }
    frozen = {"kernel": 3, "stage2.depth": [2]}
    asked = {**ON, "constraints": wanted, "frozen": frozen}
    search = (await busy.post("/v1/searches", json=asked, headers=WAIT)).json()
    assert search["status"] == "succeeded", search
    request, found = search["request"], search["result"]
    assert request["asked"] == wanted
    assert request["frozen"] == {"kernel": [3], "stage2.depth": [2]}
    limits, minimums = request["constraints"], request["minimums"]
    assert limits["latency_ms"] == pytest.approx(9 * minimums["latency_ms"])
    assert minimums["latency_ms"] <= found["latency_ms"] <= limits["latency_ms"]
    assert found["macs"] <= limits["macs"]
    assert {kernel for stage in found["arch"]["kernel"] for kernel in stage} == {3}
    assert found["arch"]["depth"][1] == 2
    assert (await busy.post("/v1/searches", json=asked)).json()["id"] == search["id"]

    target = {"top1": found["top1"] - 1}
    asked = {**ON, "target": target, "effort": "thorough"}
    search = (await busy.post("/v1/searches", json=asked, headers=WAIT)).json()
    assert search["request"]["target"] == {**target, "minimize": "latency_ms"}
    assert search["result"]["top1"] >= target["top1"]
    assert search["result"]["latency_ms"] <= found["latency_ms"]
    assert "is met as predicted" in search["result"]["warnings"][0]
    assert (search["request"]["effort"], search["result"]["search"]["effort"]) == ("thorough",) * 2


async def test_an_effort_is_part_of_what_makes_requests_the_same(client):
    """And one without it is normal, so that what clients of earlier versions ask is the same."""
    asked = {**ON, "constraints": {"latency_ms": "95%"}}
    found = [
        (await client.post("/v1/searches", json=asked | given)).json()
        for given in ({}, {"effort": "normal"}, {"effort": "quick"}, {"effort": "thorough"})
    ]
    ids = [search["id"] for search in found]
    assert ids[0] == ids[1]
    assert len({*ids}) == 3
    assert [s["request"].get("effort") for s in found[1:]] == [None, "quick", "thorough"]


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        ({"constraints": {}}, 422, "expected at least one limit"),
        ({"constraints": {"latency_ms": "0%"}}, 422, "expected a number, a share"),
        ({"constraints": {"latency_ms": "fast"}}, 422, "expected a number, a share"),
        ({"constraints": {"latency_ms": {}}}, 422, 'expected "min", "max" or both'),
        ({"constraints": {"latency_ms": {"least": 1}}}, 422, 'expected "min", "max" or both'),
        ({"constraints": {"latency_ms": {"min": 0.9, "max": 0.8}}}, 422, "expected min up to max"),
        ({"constraints": {"latency_ms": {"min": 1e6}}}, 422, "latency_ms >= 1e+06 asked"),
        ({"constraints": {"latency_ms": -1}}, 422, "greater than 0"),
        ({"target": {"top1": 101}}, 422, "less than or equal to 100"),
        ({"target": {"top1": 100}}, 422, "top1 >= 100 asked, but the most accurate network"),
        ({"target": {"top1": 50, "minimize": "size"}}, 422, "expected one of latency_ms, macs"),
        ({"constraints": {"latency_ms": 1}, "effort": "long"}, 422, "'quick', 'normal' or"),
        ({"frozen": {"kernel": 4}}, 422, "frozen.kernel: expected some of 3, 5, got 4"),
        ({"frozen": {"kernel": None}}, 422, "expected numbers, one or a list"),
        ({"frozen": {"stage9.kernel": 3}}, 422, "names no gene of space"),
    ],
)
async def test_what_cannot_be_asked_is_refused(client, asked, status, text):
    constraints = {} if "target" in asked else {"constraints": {"latency_ms": 0.8}}
    request = {**ON, **constraints, **asked}
    problem = (await client.post("/v1/searches", json=request)).json()
    assert (problem["status"], text in problem["detail"]) == (status, True), problem
    if "asked, but" in text:
        assert problem["ceiling"] < problem["budget"]
        assert "floor" not in problem
    assert (await client.get("/v1/searches")).json()["items"] == []

"""A latency budget that limits the upper bound at a nominal confidence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from latency_tables.published.builtin import BuiltinDevices
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from service.catalog.catalog import open_catalog
from service.contracts.limits import Constraints
from tests.service.conftest import DEVICE, SUPERNET, client_on, make_profile, make_table
from tests.spaces import DEBUG

RATIOS = [0.9, 0.95, 0.98, 1.0, 1.0, 1.02, 1.05, 1.1, 1.2]
"""Nine networks: the ninth holds at 90 %, the fifth at 50 %."""

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(settings):
    async with client_on(settings) as client:
        yield client


def request_of(confidence: float | None, latency_ms: float = 0.8, **profile: Any):
    """A search on a device whose table is 9 networks' worth."""
    limits: dict[str, float] = {"latency_ms": latency_ms}
    if confidence is not None:
        limits["latency_confidence"] = confidence
    device = make_profile(residual_ratios=RATIOS, **profile)
    return {"supernet": SUPERNET, "device": device, "constraints": limits}


@pytest.mark.slow
async def test_the_floor_is_the_bound_of_the_fastest_network(client):
    floors = {}
    for confidence in (None, 0.5, 0.9):
        answer = await client.post("/v1/searches", json=request_of(confidence, 1e-3))
        assert answer.status_code == 422
        floors[confidence] = answer.json()["floor"]
    assert floors[0.5] == pytest.approx(1.0 * floors[None])
    assert floors[0.9] == pytest.approx(1.2 * floors[None])
    between = (floors[None] + floors[0.9]) / 2
    assert (await client.post("/v1/searches", json=request_of(None, between))).status_code == 202
    assert (await client.post("/v1/searches", json=request_of(0.9, between))).status_code == 422


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latency_confidence": 0.95}, "9 measured networks support at most 0.9"),
        ({"latency_confidence": 1.0}, "latency_confidence"),
        ({"latency_confidence": 90}, "latency_confidence"),
        ({"latency_confidence": "0.9"}, "latency_confidence"),
        ({"latency_ms": None, "macs": 1e6, "latency_confidence": 0.9}, "expected it with latency"),
        ({"latency_ms": None, "latency_confidence": 0.9}, "expected it with latency"),
    ],
)
async def test_what_cannot_be_promised_is_refused(client, changes, words):
    request = request_of(None)
    request["constraints"] |= changes
    answer = await client.post("/v1/searches", json=request)
    assert answer.status_code == 422
    assert words in answer.text


async def test_nothing_is_promised_of_a_device_without_networks(client):
    request = {"supernet": SUPERNET, "device": DEVICE}
    request["constraints"] = {"latency_ms": 0.8, "latency_confidence": 0.5}  # type: ignore[assignment]
    answer = await client.post("/v1/searches", json=request)
    assert (answer.status_code, "no whole network" in answer.json()["detail"]) == (422, True)


@pytest.mark.slow
async def test_a_front_takes_confidence_as_a_search_does(client):
    device = make_profile("bounded", residual_ratios=RATIOS)
    assert (await client.post("/v1/devices", json=device)).status_code == 201
    url = f"/v1/supernets/{SUPERNET}/devices/bounded/front"
    answer = await client.get(url, params={"latency_confidence": 0.9})
    first = answer.json()["points"][0]
    assert first["latency_upper_ms"] == pytest.approx(1.2 * first["latency_ms"])
    request = request_of(0.9, 1e-3)
    floor = (await client.post("/v1/searches", json=request)).json()["floor"]
    assert floor == pytest.approx(first["latency_upper_ms"])
    again = await client.get(
        url,
        params={"latency_confidence": 0.9},
        headers={"If-None-Match": answer.headers["ETag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    other = await client.get(
        url,
        params={"latency_confidence": 0.5},
        headers={"If-None-Match": answer.headers["ETag"]},
    )
    assert other.status_code == 200
    for confidence, words in ((0.95, "support at most 0.9"), (1, "latency_confidence")):
        refused = await client.get(url, params={"latency_confidence": confidence})
        assert (refused.status_code, words in refused.text) == (422, True)


async def test_the_same_budget_with_and_without_are_two_searches(client):
    ids = [
        (await client.post("/v1/searches", json=request_of(c))).json()["id"]
        for c in (None, 0.5, 0.9, 0.9)
    ]
    assert len(set(ids)) == 3


@pytest.mark.slow
def test_command(run, run_json, settings, tmp_path):
    profile = make_profile("noisy", residual_ratios=RATIOS)
    catalog = open_catalog(settings)
    catalog.devices.add(catalog.read_profile(profile))
    budget = ("search", "--supernet", SUPERNET, "--device", "noisy", "--latency-ms", 0.8)
    table = make_table(network_overhead_ms=0.0)
    for confidence, factor in ((None, 1.2), (0.5, 1.0), (0.9, 1.2)):
        asked = () if confidence is None else ("--confidence", confidence)
        found = run_json(*budget, *asked)
        latency = table.network_ms(layer_plan(DEBUG, Arch.from_json(found["arch"])))
        assert found["latency_ms"] == pytest.approx(latency)
        assert found["latency_upper_ms"] == pytest.approx(factor * latency)
        limited = found["latency_ms"] if confidence is None else found["latency_upper_ms"]
        assert limited <= 0.8
        bound = found["provenance"]["latency_upper_ms"]
        assert (bound["confidence"], bound["networks"]) == (confidence or 0.9, 9)
    assert "nominal coverage 90%, drift unknown" in run(*budget, "--confidence", 0.9).stdout
    assert "support at most 0.9" in run(*budget, "--confidence", 0.95, code=2).stderr
    plain = run_json(*budget[:4], DEVICE, *budget[5:])
    assert "latency_upper_ms" not in plain
    assert "latency_upper_ms" not in plain["provenance"]


def test_limits_as_they_are_stored_can_be_asked_again():
    limits = Constraints.model_validate({"latency_ms": 3.0, "latency_confidence": 0.9}).limits()
    assert json.loads(json.dumps(limits)) == {"latency_ms": 3.0, "latency_confidence": 0.9}
    assert Constraints.model_validate(limits).limits() == limits


def test_a_bound_of_a_shipped_device_holds_as_often_as_promised():
    """Drawn again from the V100's own networks: 90 % of them are within the bound."""
    table = BuiltinDevices().get("v100").table("ofa-mbv3-w1.2")
    drawn = np.array(table.residual_ratios)
    assert np.mean(drawn <= table.upper_factor(0.9)) == pytest.approx(0.9, abs=0.01)

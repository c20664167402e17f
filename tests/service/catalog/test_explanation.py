"""Explanations and pictures over HTTP agree with what the search answered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from models.spaces.ofa_form import to_ofa
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET, busy_on, client_on, make_profile
from tests.spaces import DEBUG

pytestmark = pytest.mark.anyio
REQUEST = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}
WHERE = f"/v1/supernets/{SUPERNET}"


@pytest.fixture(scope="module")
async def client(template, anyio_backend, tmp_path_factory):
    home = Path(shutil.copytree(template, tmp_path_factory.mktemp("explained") / "home"))
    async with busy_on(Settings(home=home, workers=0, poll_interval_s=0.01)) as client:
        yield client


@pytest.mark.slow
async def test_a_search_explains_itself(client):
    search = (await client.post("/v1/searches", json=REQUEST, headers={"Prefer": "wait=60"})).json()
    result, at = search["result"], f"/v1/searches/{search['id']}"
    told = (await client.get(f"{at}/explain")).json()
    for name in (
        "arch",
        "top1",
        "latency_ms",
        "macs",
        "params",
        "layers",
        "prices",
        "footprint",
        "provenance",
    ):
        assert told[name] == result[name], name
    for share in ("latency_share", "macs_share"):
        assert sum(layer[share] for layer in told["layers"]) == pytest.approx(1)
    total = told["network_overhead_ms"] + sum(layer["latency_ms"] for layer in told["layers"])
    assert total == pytest.approx(told["latency_ms"])
    for step in told["more_time"]:
        query = {"latency_ms": told["latency_ms"] + step["extra_ms"]}
        (point,) = (await client.get(f"{WHERE}/devices/{DEVICE}/front", params=query)).json()[
            "points"
        ]
        assert point["arch"] == step["arch"]
        assert point["top1"] == pytest.approx(step["top1"])
    answer = await client.get(f"{at}/architecture.svg")
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert ElementTree.fromstring(answer.text).tag.endswith("svg")
    tag = {"If-None-Match": answer.headers["ETag"]}
    assert (await client.get(f"{at}/architecture.svg", headers=tag)).status_code == 304


@pytest.mark.slow
async def test_any_network_is_explained(client):
    query = {"latency_ms": 0.8}
    told = (await client.get(f"{WHERE}/devices/{DEVICE}/explain", params=query)).json()
    (point,) = (await client.get(f"{WHERE}/devices/{DEVICE}/front", params=query)).json()["points"]
    assert told["arch"] == point["arch"]
    assert told["top1"] == pytest.approx(point["top1"])
    named = {"arch": json.dumps(told["arch"])}
    assert (await client.get(f"{WHERE}/devices/{DEVICE}/explain", params=named)).json() == told
    theirs = {"arch": json.dumps(to_ofa(DEBUG, DEBUG.read_arch(told["arch"])))}
    assert (await client.get(f"{WHERE}/devices/{DEVICE}/explain", params=theirs)).json() == told
    small = {"arch": json.dumps(to_ofa(DEBUG, DEBUG.smallest))}
    answer = await client.get(f"{WHERE}/devices/{DEVICE}/explain", params=small)
    assert answer.json()["arch"] == DEBUG.smallest.to_json()
    (said,) = answer.json()["warnings"]
    assert "beyond the depth of their stage are ignored" in said
    bare = await client.get(f"{WHERE}/architecture.svg", params=named)
    assert (await client.get(f"{WHERE}/architecture.svg", params=theirs)).text == bare.text
    timed = await client.get(f"{WHERE}/architecture.svg", params={**named, "device": DEVICE})
    assert 'class="time"' in timed.text
    assert 'class="time"' not in bare.text


@pytest.mark.slow
async def test_a_search_is_explained_by_the_table_it_was_made_with(client):
    profile = make_profile("phone")
    await client.post("/v1/devices", json=profile)
    inline = {**REQUEST, "device": {**profile, "network_overhead_ms": 0.1}}
    search = (await client.post("/v1/searches", json=inline, headers={"Prefer": "wait=60"})).json()
    told = (await client.get(f"/v1/searches/{search['id']}/explain")).json()
    assert told["network_overhead_ms"] == 0.1
    assert told["latency_ms"] == search["result"]["latency_ms"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "query", "status", "says"),
    [
        ("/devices/{device}/explain", {}, 422, "expected one of latency_ms and arch"),
        ("/devices/{device}/explain", {"latency_ms": 1, "arch": "{}"}, 422, "expected one of"),
        ("/devices/{device}/explain", {"latency_ms": 1e-9}, 422, "infeasible"),
        ("/devices/{device}/explain", {"latency_ms": "nan"}, 422, "finite"),
        ("/devices/{device}/explain", {"arch": "{"}, 422, "expected an architecture's JSON"),
        ("/devices/nobody/explain", {"latency_ms": 1}, 404, "unknown device"),
        ("/devices/{device}/explain", {"latency_ms": 1, "precision": "int8"}, 404, "int8"),
        ("/architecture.svg", {}, 422, "arch"),
        ("/architecture.svg", {"arch": "[" * 3000}, 422, "expected an architecture's JSON"),
        ("/architecture.svg", {"arch": '{"resolution": 7}'}, 422, "is missing"),
        ("/architecture.svg", {"arch": '{"ks": 3, "e": 3, "d": 9, "r": 8}'}, 422, "arch.d: expec"),
        ("/architecture.svg", {"arch": '{"ks": NaN}'}, 422, "expected finite numbers"),
        ("/architecture.svg", {"arch": "x" * 20_000}, 422, "at most"),
    ],
)
async def test_what_cannot_be_explained_is_said(client, path, query, status, says):
    answer = await client.get(WHERE + path.format(device=DEVICE), params=query)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


@pytest.mark.slow
async def test_an_unfinished_search_has_nothing_to_explain(settings):
    async with client_on(settings) as client:
        search = (await client.post("/v1/searches", json=REQUEST)).json()
        for part in ("explain", "architecture.svg"):
            answer = await client.get(f"/v1/searches/{search['id']}/{part}")
            assert (answer.status_code, "is queued" in answer.json()["detail"]) == (409, True)


async def test_a_network_of_another_space_is_refused(client):
    arch = {**DEBUG.largest.to_json(), "resolution": 99}
    answer = await client.get(f"{WHERE}/architecture.svg", params={"arch": json.dumps(arch)})
    assert answer.status_code == 422
    assert "arch.resolution" in answer.json()["detail"]

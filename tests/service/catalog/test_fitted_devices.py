"""Devices known by whole networks: posted, inline, by command; with and without a donor."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.spaces.plan import layer_plan
from tests.service.conftest import DEVICE, SUPERNET, client_on, make_profile, make_table
from tests.spaces import DEBUG

FACTOR = 3.0
"""The made-up device takes so many times what the stored one takes."""

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(settings):
    async with client_on(settings) as client:
        yield client


def networks(count, seed=0):
    rows = np.unique(DEBUG.sample(4 * count, np.random.default_rng(seed)), axis=0)
    archs = DEBUG.decode(np.random.default_rng(seed).permutation(rows)[:count])
    times = [FACTOR * make_table().network_ms(layer_plan(DEBUG, arch)) for arch in archs]
    return {"arch": [arch.to_json() for arch in archs], "latency_ms": times}


def profile_of(count, **changes):
    head = {key: value for key, value in make_profile("board").items() if key != "table"}
    return {**head, "measurements": networks(count), **changes}


@pytest.mark.slow
async def test_few_networks_near_a_donor(client):
    answer = await client.post("/v1/devices", json=profile_of(4, donor=DEVICE))
    assert answer.status_code == 201, answer.text
    table = answer.json()["tables"][0]
    assert (table["origin"], table["layers"]) == ("fitted", 42)
    assert f"near the costs of device '{DEVICE}' to 4 whole networks" in table["source"]
    assert table["expected_error"] < 0.02


async def test_many_networks_without_a_donor(client):
    answer = await client.post("/v1/devices", json=profile_of(60))
    assert answer.status_code == 201, answer.text
    assert answer.json()["tables"][0]["expected_error"] < 0.05


async def test_a_search_on_an_inline_profile_with_a_donor(client):
    request = {"supernet": SUPERNET, "device": profile_of(5, donor=DEVICE)}
    own = make_table()
    arch = DEBUG.uniform(12, -1, 5, 4)
    budget = FACTOR * own.network_ms(layer_plan(DEBUG, arch))
    answer = await client.post(
        "/v1/searches", json={**request, "constraints": {"latency_ms": budget}}
    )
    assert answer.status_code == 202, answer.text
    floor = await client.post("/v1/searches", json={**request, "constraints": {"latency_ms": 1e-3}})
    exact = await client.post(
        "/v1/searches",
        json={"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 1e-3}},
    )
    assert floor.json()["floor"] == pytest.approx(FACTOR * exact.json()["floor"], rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"donor": "nobody"}, 404, "nobody"),
        ({"donor": "lg-g8"}, 404, "no latency table for space 'debug'"),
        ({"space": "elsewhere"}, 422, "need a known space"),
        ({"batch": 4, "measurements": {**networks(12), "batch": 1}}, 422, "expected 4 as in"),
    ],
)
async def test_what_does_not_hold(client, changes, status, words):
    answer = await client.post("/v1/devices", json=profile_of(12, **changes))
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


async def test_a_time_that_is_far_off_is_named_in_the_answer(client):
    body = profile_of(12)
    body["measurements"]["latency_ms"][7] *= 100
    answer = await client.post("/v1/devices", json=body)
    assert answer.status_code == 422
    assert "measurements: entry 7 " in answer.json()["detail"]
    inline = {"supernet": SUPERNET, "device": body, "constraints": {"latency_ms": 1.0}}
    assert "entry 7 " in (await client.post("/v1/searches", json=inline)).json()["detail"]


async def test_an_inline_table_that_does_not_hold_is_refused(client):
    table = {key: {"p50_ms": 1e4 * ms["p50_ms"]} for key, ms in make_profile()["table"].items()}
    request = {"supernet": SUPERNET, "device": make_profile("slow", table=table)}
    answer = await client.post("/v1/searches", json={**request, "constraints": {"latency_ms": 1e4}})
    assert (answer.status_code, answer.json()["title"]) == (422, "Bad table")
    assert "are the times microseconds" in answer.json()["detail"]


@pytest.mark.slow
def test_command(run, run_json, tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps({**networks(8), "batch": 2}))
    common = ("devices", "fit", "board", "--space", "debug", "--measurements", path)
    found = run_json(*common, "--donor", DEVICE)
    table = found["tables"][0]
    assert (found["name"], table["origin"], table["conditions"]["batch"]) == ("board", "fitted", 2)
    assert "measured by the user" in table["source"]
    archs = tmp_path / "archs.json"
    unseen = networks(30, seed=1)
    archs.write_text(json.dumps(unseen["arch"]))
    rows = run_json("predict", "--supernet", SUPERNET, "--device", "board", "--archs", archs)
    predicted = np.array([row["latency_ms"] for row in rows])
    assert np.abs(predicted / unseen["latency_ms"] - 1).mean() < 0.03
    assert "has a table" in run(*common, "--donor", DEVICE, code=2).stderr
    run(*common, "--donor", DEVICE, "--replace")


def test_command_refuses_what_is_no_measurement(run, tmp_path):
    path = tmp_path / "measured.json"
    common = ("devices", "fit", "board", "--space", "debug", "--measurements", path)
    assert "expected a JSON file" in run(*common, code=2).stderr
    path.write_text(json.dumps(networks(5)))
    assert "at least 10 different networks without a donor" in run(*common, code=2).stderr
    path.write_text(json.dumps(["x"]))
    assert "expected an object" in run(*common, code=2).stderr

"""Bad input of each kind is a problem document that says what to do, and changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from latency_tables.table.table import space_layers
from models.spaces.files import published_spaces
from service.settings import Settings
from tests.fakes import FakeTable
from tests.service.conftest import DEVICE, SUPERNET, client_on, make_profile

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def served(template, anyio_backend, tmp_path_factory):
    home = Path(shutil.copytree(template, tmp_path_factory.mktemp("errors") / "home"))
    async with client_on(Settings(home=home, workers=0, poll_interval_s=0.01)) as client:
        yield client


@pytest.fixture
async def client(served):
    yield served
    # Whatever was refused left nothing behind.
    assert (await served.get("/v1/searches")).json()["items"] == []
    names = [item["name"] for item in (await served.get("/v1/devices")).json()["items"]]
    assert "posted" not in names


def body(**changes):
    good = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}
    return {**good, **changes}


def check(answer, status, words):
    problem = answer.json()
    assert answer.status_code == problem["status"] == status, problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["type"]
    assert problem["title"]
    assert problem["instance"] == answer.request.url.path
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (body(supernet="debug-nat"), 404, "did you mean 'debug-net'?"),
        (body(device="debug-devise"), 404, "did you mean 'debug-device'?"),
        (body(supernet="../../etc"), 422, "/body/supernet"),
        (body(constraints={}), 422, "expected at least one limit"),
        (body(constraints={"latency_ms": -1}), 422, "greater than 0"),
        (body(constraints={"latency_ms": 0}), 422, "greater than 0"),
        (body(constraints={"latency_ms": "5"}), 422, "/body/constraints/latency_ms"),
        (body(constraints={"latency_ms": True}), 422, "/body/constraints/latency_ms"),
        (body(constraints={"latency": 5}), 422, "/body/constraints/latency"),
        (body(constraints={"energy_mj": 5}), 422, "constraints.energy_mj: expected a device whose"),
        (body(precision="int8"), 404, "int8"),
        (body(precision="fp64"), 422, "/body/precision"),
        (body(seed=-1), 422, "/body/seed"),
        (body(seed=1.5), 422, "/body/seed"),
        (body(budget=3), 422, "/body/budget"),
        (body(device=7), 422, "/body/device"),
        ([], 422, "/body"),
        (body(device={}), 422, "profile: field 'name' is missing"),
        (body(device=make_profile(space="other")), 422, "expected a table for space 'debug'"),
        (body(device=make_profile(precision="int8")), 422, "was taken at 'int8'"),
        (body(device=make_profile(batch=0)), 422, "batch"),
    ],
)
async def test_searches(client, request_, status, words):
    check(await client.post("/v1/searches", json=request_), status, words)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", 422, "/body"),
        ("{", 422, "JSON decode error"),
        (json.dumps(body())[:-2] + ": NaN}}", 422, "JSON decode error"),
        (json.dumps(body(constraints={"latency_ms": float("nan")})), 422, "finite"),
        (json.dumps(body(constraints={"macs": float("inf")})), 422, "finite"),
        (json.dumps(body()).replace("0.8", "1e999"), 422, "finite"),
    ],
)
async def test_text_that_is_no_request(client, text, status, words):
    headers = {"Content-Type": "application/json"}
    check(await client.post("/v1/searches", content=text, headers=headers), status, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "No Spaces"}, "profile.name: expected 1 to 64 of a-z"),
        ({"name": "../up"}, "expected 1 to 64 of a-z"),
        ({"table": {}}, "expected 1 to"),
        ({"table": {"key": {"p50_ms": -1}}}, "p50_ms: expected a finite number above 0"),
        ({"table": {"key": {"p50_ms": 1e9}}}, "p50_ms: expected a finite number above 0"),
        ({"table": {"key": {"p50_ms": "fast"}}}, "expected a number, got 'fast'"),
        ({"table": {"key": {}}}, "'p50_ms' is missing"),
        ({"table": [1, 2]}, "/body/table"),
        ({"precision": "fp99"}, "precision: expected one of"),
        ({"batch": "1"}, "/body/batch"),
        ({"conditions": {"clock": 1}}, "unknown field 'clock'"),
        ({"measurements": {"arch": [], "latency_ms": []}}, "expected one of"),
        ({"surprise": 1}, "unknown field 'surprise'"),
    ],
)
async def test_devices(client, changes, words):
    answer = await client.post("/v1/devices", json=make_profile(**changes))
    check(answer, 422, words)


async def test_a_profile_that_is_no_table(client):
    for value in (float("nan"), float("inf")):
        text = json.dumps(make_profile(table={"key": {"p50_ms": value}}))
        headers = {"Content-Type": "application/json"}
        check(await client.post("/v1/devices", content=text, headers=headers), 422, "finite")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/nothing", 404, "GET /v1/nothing"),
        ("/v1/searches/unknown", 404, "unknown search 'unknown'"),
        ("/v1/searches/unknown/events", 404, "unknown search"),
        ("/v1/searches/unknown/model.onnx", 404, "unknown search"),
        ("/v1/supernets/unknown", 404, "unknown supernet 'unknown'"),
        ("/v1/devices/unknown", 404, "unknown device 'unknown'"),
        (f"/v1/supernets/{SUPERNET}/devices/unknown/front", 404, "unknown device"),
        ("/v1/searches?limit=0", 422, "/query/limit"),
        ("/v1/searches?limit=1000", 422, "/query/limit"),
        ("/v1/searches?sort=id;drop", 422, "/query/sort"),
        ("/v1/searches?created_after=last week", 422, "/query/created_after"),
        ("/v1/searches?created_after=2026-11-24T10:00", 422, "it says no time zone; add Z"),
        ("/v1/searches?created_after=2026-11-24T10:00+01:00", 422, "in a URL write + as %2B"),
        ("/v1/searches?created_before=2026-02-30", 422, "expected a date such as 2026-11-24"),
        ("/v1/searches?created_before=0001-01-01T00:00%2B14:00", 422, "out of range"),
        (
            "/v1/searches?created_after=2026-11-24&created_before=2026-11-24",
            422,
            "created_before: expected a moment later than created_after",
        ),
        ("/v1/searches?status=done", 422, "/query/status"),
        ("/v1/searches?latency_ms_max=nan", 422, "/query/latency_ms_max"),
        ("/v1/searches?top1_min=101", 422, "/query/top1_min"),
        ("/v1/searches?cursor=abc", 422, "cursor"),
        ("/v1/searches?colour=red", 422, "/query/colour"),
    ],
)
async def test_reading(client, path, status, words):
    check(await client.get(path), status, words)


async def test_other_methods(client):
    check(await client.put("/v1/searches"), 405, "PUT /v1/searches")
    check(await client.delete("/v1/searches/unknown"), 404, "unknown search")


async def test_a_body_that_is_too_large(settings):
    async with client_on(settings.model_copy(update={"max_body_bytes": 1024})) as client:

        async def chunks():
            for _ in range(100):
                yield b" " * 100

        for content in (b" " * 5000, chunks()):
            headers = {"Content-Type": "application/json"}
            answer = await client.post("/v1/searches", content=content, headers=headers)
            check(answer, 413, "at most 1024 bytes")


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_idempotency_keys_have_a_length(client, key):
    answer = await client.post("/v1/searches", json=body(), headers={"Idempotency-Key": key})
    check(answer, 422, "/header/idempotency-key")


async def test_a_bug_is_a_problem_without_its_secrets(settings, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("service.http.routes.searches.submit", broken)
    async with client_on(settings) as client:
        answer = await client.post("/v1/searches", json=body())
    check(answer, 500, "described in the log")
    assert "secret" not in answer.text


@pytest.mark.slow
async def test_a_published_supernet_needs_weights_and_images(client):
    """It is listed and can be asked about; a search, which ends in a model, says what to bring."""
    space = published_spaces()["ofa-mbv3-w1.0"]
    times = FakeTable()
    table = {
        key: {"p50_ms": times.layer_ms(layer)}
        for key, layer in space_layers(space.at([224])).items()
    }
    profile = make_profile(space=space.name, table=table)
    request = body(supernet=space.name, device=profile, constraints={"latency_ms": 1e3})
    check(await client.post("/v1/searches", json=request), 422, "has no weights here: add")
    shown = (await client.get(f"/v1/supernets/{space.name}")).json()
    assert (shown["sha256"], shown["predictor"]["resolutions"]) == ("", [224])
    assert shown["capabilities"] == {"search": True, "deliver": False, "verify": False}
    (step,) = shown["next_steps"]
    assert step["adds"] == ["deliver", "verify"]
    assert step["command"] == f"subnet-search supernets download {space.name} --calibration FOLDER"
    assert shown["architectures"] == space.cardinality

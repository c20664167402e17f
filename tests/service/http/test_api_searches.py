"""Asking for a search, waiting for it, finding it again, taking its model."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime, timedelta, timezone
from subprocess import PIPE, Popen

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from service.catalog.catalog import open_catalog
from service.contracts import StoreUnavailable
from service.http.app import create_app
from service.http.watch import Watcher
from tests.processes import PATIENCE_S
from tests.service.conftest import (
    DEVICE,
    SUPERNET,
    busy_on,
    client_of,
    client_on,
    keep,
    make_profile,
    make_table,
)
from tests.spaces import DEBUG

pytestmark = pytest.mark.anyio
WAIT = {"Prefer": "wait=30"}


def body(latency_ms=0.8, **changes):
    constraints = {"latency_ms": latency_ms}
    return {"supernet": SUPERNET, "device": DEVICE, "constraints": constraints, **changes}


@pytest.mark.slow
async def test_from_a_budget_to_a_model(busy):
    answer = await busy.post("/v1/searches", json=body(), headers=WAIT)
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=30"
    search = answer.json()
    result = search["result"]
    assert search["status"] == "succeeded"
    assert result["latency_ms"] <= 0.8
    assert sum(layer["macs"] for layer in result["layers"]) == result["macs"]
    assert sum(layer["params"] for layer in result["layers"]) == result["params"]
    layers_ms = sum(layer["latency_ms"] for layer in result["layers"])
    assert layers_ms + make_table().network_overhead_ms == pytest.approx(result["latency_ms"])
    assert result["provenance"]["latency_ms"]["origin"] == "predicted"
    assert result["provenance"]["latency_ms"]["expected_error"] == 0.04
    assert result["verified"]["top1"]["origin"] == "measured"
    assert "latency_ms" not in result["verified"], "timed although this host is not the device"

    stored = await busy.get(answer.headers["Location"])
    assert stored.json() == search
    again = await busy.post("/v1/searches", json=body())
    assert (again.status_code, again.json()) == (201, search)

    model = await busy.get(f"/v1/searches/{search['id']}/model.onnx")
    assert hashlib.sha256(model.content).hexdigest() == result["sha256"]
    assert model.headers["ETag"] == f'"{result["sha256"]}"'
    assert len(model.content) == result["model_bytes"]
    check_file(model.content, result)

    url = f"/v1/searches/{search['id']}/model.onnx"
    part = await busy.get(url, headers={"Range": "bytes=-5"})
    assert (part.status_code, part.content) == (206, model.content[-5:])
    same = await busy.get(url, headers={"If-None-Match": model.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    head = await busy.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == model.headers["ETag"]


@pytest.mark.slow
async def test_the_file_of_a_search_keeps_a_limit_on_its_size(busy):
    free = (await busy.post("/v1/searches", json=body(), headers=WAIT)).json()["result"]
    limit = free["model_bytes"] - 2000.0
    limits = {"latency_ms": 0.8, "model_bytes": limit}
    answer = await busy.post("/v1/searches", json=body(constraints=limits), headers=WAIT)
    assert answer.status_code == 201
    result = answer.json()["result"]
    assert result["model_bytes"] <= limit
    assert result["top1"] <= free["top1"]


def check_file(content, result):
    """The file explains itself, and runs without this project."""
    model = onnx.load_from_string(content)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["subnet_search.arch"]) == result["arch"]
    assert metadata["subnet_search.supernet"] == SUPERNET
    assert metadata["subnet_search.device"] == DEVICE
    assert metadata["subnet_search.precision"] == "fp32"
    assert json.loads(metadata["subnet_search.predicted"])["top1"] == result["top1"]
    assert json.loads(metadata["subnet_search.verified"]) == result["verified"]
    preprocess = json.loads(metadata["subnet_search.preprocess"])
    assert preprocess == {
        "channels": 1,
        "resolution": result["arch"]["resolution"],
        "interpolation": "bilinear",
        "mean": [0.286],
        "std": [0.353],
        "fit": "center_crop",  # nobody trained it here
        "crop_share": 0.875,
        "sizes": [result["arch"]["resolution"]],
    }
    assert result["file"]["preprocess"] == preprocess
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    size = result["arch"]["resolution"]
    (logits,) = session.run(["logits"], {"input": np.zeros((3, 1, size, size), np.float32)})
    assert logits.shape == (3, DEBUG.classes)


@pytest.mark.slow
async def test_same_seed_same_answer_also_in_another_home(settings, template, tmp_path):
    results = []
    for name in ("one", "two"):
        other = settings.model_copy(
            update={
                "home": settings.home,
                "database_url": f"sqlite:///{tmp_path / name}.sqlite",
            }
        )
        open_catalog(other).devices.add(make_table())
        async with busy_on(other) as client:
            answer = await client.post("/v1/searches", json=body(seed=3), headers=WAIT)
            results.append(answer.json()["result"])
    one, two = results
    del one["search"], two["search"]
    assert one == two


@pytest.mark.slow
async def test_an_inline_profile_is_searched_without_being_kept(busy):
    request = body(device=make_profile("mine"))
    answer = await busy.post("/v1/searches", json=request, headers=WAIT)
    assert answer.status_code == 201
    assert answer.json()["request"]["device"] == "mine"
    assert (await busy.get("/v1/devices/mine")).status_code == 404


async def test_without_a_worker_it_is_queued(client):
    answer = await client.post("/v1/searches", json=body())
    search = answer.json()
    assert (answer.status_code, search["status"]) == (202, "queued")
    assert answer.headers["Location"] == f"/v1/searches/{search['id']}"
    assert (search["result"], search["error"], search["finished_at"]) == (None, None, None)
    model = await client.get(f"/v1/searches/{search['id']}/model.onnx")
    assert (model.status_code, model.json()["title"]) == (409, "Conflict")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=0", "wait=0"),
        ("respond-async, wait=0", "wait=0"),
        ('WAIT="0"', "wait=0"),
        ("wait=-1", None),
        ("wait=soon", None),
        ("respond-async", None),
    ],
)
async def test_prefer(client, prefer, applied):
    answer = await client.post("/v1/searches", json=body(), headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers.get("Preference-Applied") == applied


async def test_a_long_wait_is_capped(settings):
    async with client_on(settings.model_copy(update={"max_wait_s": 0.05})) as client:
        answer = await client.post("/v1/searches", json=body(), headers={"Prefer": "wait=99999"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=0.05")


async def test_constraints_and_seed_make_another_search(client):
    bodies = [
        body(),
        body(0.9),
        body(seed=1),
        body(constraints={"latency_ms": 0.8, "macs": 1e6}),
        body(device=make_profile(network_overhead_ms=0.3)),
    ]
    ids = [(await client.post("/v1/searches", json=b)).json()["id"] for b in bodies]
    assert len(set(ids)) == len(bodies)
    same = await client.post("/v1/searches", json=body(precision="fp32", seed=0))
    assert same.json()["id"] == ids[0]


async def test_idempotency_key(client):
    headers = {"Idempotency-Key": "mine-1"}
    first = await client.post("/v1/searches", json=body(), headers=headers)
    second = await client.post("/v1/searches", json=body(), headers=headers)
    assert first.json()["id"] == second.json()["id"]
    other = await client.post("/v1/searches", json=body(0.9), headers=headers)
    assert other.status_code == 422
    assert "take a new key" in other.json()["detail"]
    assert len((await client.get("/v1/searches")).json()["items"]) == 1


async def test_infeasible_is_refused_at_once_with_the_floor(client):
    answer = await client.post("/v1/searches", json=body(0.001))
    problem = answer.json()
    assert (answer.status_code, problem["title"]) == (422, "Infeasible")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (problem["limit"], problem["budget"]) == ("latency_ms", 0.001)
    assert (await client.get("/v1/searches")).json()["items"] == []
    at_floor = await client.post("/v1/searches", json=body(problem["floor"]))
    assert at_floor.status_code == 202


async def test_limits_that_only_together_cannot_be_met(client):
    macs = {"constraints": {"latency_ms": 1e6, "macs": 1.0}}
    problem = (await client.post("/v1/searches", json=body(**macs))).json()
    assert (problem["status"], problem["limit"]) == (422, "macs")


async def test_cancel(client):
    search = (await client.post("/v1/searches", json=body())).json()
    url = f"/v1/searches/{search['id']}"
    for _ in range(2):
        answer = await client.delete(url)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    queued = await client.post("/v1/searches", json=body())
    assert (queued.json()["id"], queued.json()["status"]) == (search["id"], "queued")


@pytest.mark.slow
async def test_events_of_a_finished_search_are_told_and_end(busy):
    answer = await busy.post("/v1/searches", json=body(), headers=WAIT)
    url = f"/v1/searches/{answer.json()['id']}/events"
    stream = await busy.get(url)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    kinds = [line[7:] for line in stream.text.splitlines() if line.startswith("event: ")]
    assert kinds[:2] == ["queued", "running"]
    assert set(kinds[2:-1]) == {"progress"}
    assert kinds[-1] == "succeeded"
    rest = await busy.get(url, headers={"Last-Event-ID": "2"})
    assert rest.text == stream.text[stream.text.index("event: progress") :]


async def test_a_stream_after_an_event_that_does_not_exist_yet_ends_with_the_search(
    settings, monkeypatch
):
    waiting, changed = asyncio.Event(), Watcher.changed

    async def note(watcher):
        waiting.set()
        await changed(watcher)

    monkeypatch.setattr(Watcher, "changed", note)
    async with client_on(settings) as client, asyncio.timeout(PATIENCE_S):
        search = (await client.post("/v1/searches", json=body())).json()
        url, ids = f"/v1/searches/{search['id']}", {"Last-Event-ID": "9" * 18}
        stream = asyncio.create_task(client.get(f"{url}/events", headers=ids))
        await waiting.wait()
        await client.delete(url)
        lines = (await stream).text.splitlines()
        assert [line for line in lines if line.startswith("event")] == ["event: cancelled"]


async def test_pages(client):
    for seed in range(5):
        await client.post("/v1/searches", json=body(seed=seed))
    first = (await client.get("/v1/searches", params={"limit": 3, "sort": "created_at"})).json()
    rest = await client.get(
        "/v1/searches", params={"sort": "created_at", "cursor": first["next_cursor"]}
    )
    seeds = [i["request"]["seed"] for i in (*first["items"], *rest.json()["items"])]
    assert seeds == list(range(5))
    assert rest.json()["next_cursor"] is None
    none = await client.get("/v1/searches", params={"status": "failed", "device": DEVICE})
    assert none.json() == {"items": [], "next_cursor": None}


async def test_searches_of_a_time(client):
    search = (await client.post("/v1/searches", json=body())).json()
    asked = datetime.fromisoformat(search["created_at"])
    day, later = asked.date(), asked + timedelta(microseconds=1)
    elsewhere = timezone(timedelta(hours=-7))

    async def found(**window):
        answer = await client.get("/v1/searches", params={"device": DEVICE, **window})
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]] == [search["id"]]

    assert await found(created_after=day.isoformat())
    assert await found(created_after=asked.isoformat(), created_before=later.isoformat())
    assert await found(created_after=asked.astimezone(elsewhere).isoformat())
    assert await found(created_before=f"{day + timedelta(days=1)}")
    assert not await found(created_before=asked.isoformat())
    assert not await found(created_after=later.isoformat())
    assert not await found(created_before=day.isoformat())


@pytest.mark.slow
async def test_health_and_metrics(busy):
    assert (await busy.get("/healthz")).json() == {"status": "ok"}
    assert (await busy.get("/readyz")).status_code == 200
    await busy.post("/v1/searches", json=body(), headers=WAIT)
    text = (await busy.get("/metrics")).text
    assert 'subnet_search_searches{status="succeeded"} 1.0' in text
    assert 'subnet_search_searches_ended_total{outcome="succeeded"} 1.0' in text
    assert "subnet_search_search_seconds_count 1.0" in text
    assert "subnet_search_queue_depth 0.0" in text
    assert "subnet_search_workers 1.0" in text
    assert 'subnet_search_submissions_total{cache="miss"} 1.0' in text
    await busy.post("/v1/searches", json=body())
    assert 'submissions_total{cache="hit"} 1.0' in (await busy.get("/metrics")).text
    assert 'route="/v1/searches",status="201"' in text


async def test_ready_whatever_a_search_does_to_the_workers(settings, monkeypatch):
    monkeypatch.setattr(
        "service.jobs.worker_processes._Supervisor._spawn", lambda self: Popen("false", stdin=PIPE)
    )
    app = create_app(settings.model_copy(update={"workers": 1}))
    async with client_of(app) as client:
        (supervisor,) = app.state.service.workers._supervisors
        supervisor._process.wait(PATIENCE_S)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
        assert (await client.post("/v1/searches", json=body())).status_code == 202


async def test_not_ready_without_the_database(settings, monkeypatch):
    def gone(engine):
        raise StoreUnavailable("the database does not answer")

    async with client_on(settings) as client:
        monkeypatch.setattr("service.http.dependencies.is_current", gone)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.slow
async def test_a_search_is_marked_once_its_table_is_replaced(client, home):
    inline = body(device=make_profile("nobody-keeps-it"))
    kept = (await client.post("/v1/searches", json=body())).json()
    other = (await client.post("/v1/searches", json=inline)).json()
    shipped = {"supernet": "fashion-mbv3", "device": "cpu-x86-64-ort", "constraints": {"macs": 1e9}}
    builtin = (await client.post("/v1/searches", json=shipped)).json()
    assert kept["current"] is other["current"] is builtin["current"] is True
    keep(home, make_table(network_overhead_ms=0.3), replace=True)
    items = (await client.get("/v1/searches")).json()["items"]
    current = {item["id"]: item["current"] for item in items}
    assert current == {kept["id"]: False, other["id"]: True, builtin["id"]: True}
    read = (await client.get(f"/v1/searches/{kept['id']}")).json()
    assert read["current"] is False
    assert read["request"]["device_sha256"] == kept["request"]["device_sha256"]
    again = (await client.post("/v1/searches", json=body())).json()
    assert again["id"] != kept["id"]
    assert again["current"] is True


@pytest.mark.slow
async def test_a_full_queue_refuses_what_is_new_and_says_when_to_come_back(settings):
    async with client_on(settings.model_copy(update={"max_queued": 2})) as client:
        for seed in (0, 1):
            assert (await client.post("/v1/searches", json=body(seed=seed))).status_code == 202
        refused = await client.post("/v1/searches", json=body(seed=2))
        assert (refused.status_code, refused.json()["title"]) == (429, "Queue full")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert int(refused.headers["Retry-After"]) > 0
        known = await client.post("/v1/searches", json=body(seed=1))
        assert known.status_code == 202, "what waits already is no more work"
        await client.delete(f"/v1/searches/{known.json()['id']}")
        assert (await client.post("/v1/searches", json=body(seed=2))).status_code == 202

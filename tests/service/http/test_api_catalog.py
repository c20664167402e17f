"""Supernets and devices over HTTP."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from latency_tables.benchmark.plan import plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.benchmark.runner import profile_of
from latency_tables.published.builtin import BuiltinDevices
from models.bundle.bundle import SHIPPED, Bundle, add_to_bundle
from models.bundle.measured import Measured, compress
from models.spaces.ofa_form import to_ofa
from models.spaces.plan import layer_plan
from models.training.training_log import running
from service.catalog.descriptions import describe_supernet
from service.catalog.energy import ledger
from service.contracts.records import Worked
from tests.fake_stopwatch import FakeStopwatch
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, client_on, make_profile, make_table
from tests.spaces import DEBUG
from tests.trainings import TRAINING, write_training

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


async def test_trainings(client, settings):
    assert (await client.get("/v1/trainings")).json() == {"items": []}
    points = write_training(settings.home)
    (item,) = (await client.get("/v1/trainings")).json()["items"]
    assert (item["name"], item["state"], item["phase"]) == (TRAINING, "stopped", "depth")
    assert (item["step"], item["steps"], item["seconds_left"]) == (120, 400, 84.0)
    assert item["top1"] == {"largest": 61.5, "smallest": 40.25}
    with running(settings.home / "training" / TRAINING):
        one = (await client.get(f"/v1/trainings/{TRAINING}")).json()
    assert {name: one[name] for name in item} == item | {"state": "running"}
    assert one["points"] == [asdict(point) for point in points]
    assert one["subnets"]["largest"]["macs"] == 5
    problem = await client.get("/v1/trainings/photo")
    assert (problem.status_code, "did you mean" in problem.json()["detail"]) == (404, True)


@pytest.mark.slow
async def test_published_networks(client):
    items = (await client.get("/v1/networks?device=samsung-note10")).json()["items"]
    assert [item["published"]["latency_ms"] for item in items] == [8, 11, 16, 22, 30, 41, 50, 64]
    one = (await client.get(f"/v1/networks/{items[0]['id']}")).json()
    assert {name: one[name] for name in items[0]} == items[0]
    assert [file["path"].rpartition("/")[2] for file in one["files"]] == [
        *("net.config", "run.config", "init")
    ]
    assert (await client.get(f"/v1/networks?device={DEVICE}")).json() == {"items": []}
    for path in ("/v1/networks/note10_lat-8ms", "/v1/networks?device=samsung-note11"):
        problem = await client.get(path)
        assert (problem.status_code, "did you mean" in problem.json()["detail"]) == (404, True)


async def test_a_posted_device_can_be_searched(client):
    answer = await client.post("/v1/devices", json=make_profile("phone"))
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/devices/phone")
    assert answer.json()["tables"][0]["conditions"]["threads"] == 1
    findings = {(f["severity"], f["kind"]) for f in answer.json()["lint"]}
    assert findings == {("warning", "additivity"), ("warning", "order")}
    assert (await client.get("/v1/devices/phone")).json() == answer.json()
    request = {"supernet": SUPERNET, "device": "phone", "constraints": {"latency_ms": 0.8}}
    assert (await client.post("/v1/searches", json=request)).status_code == 202


async def test_the_table_of_a_search_is_a_device_that_can_be_posted(client):
    request = {"supernet": SUPERNET, "constraints": {"latency_ms": 0.8}}
    sent = make_profile("inline", origin="estimated")
    search = (await client.post("/v1/searches", json={**request, "device": sent})).json()
    profile = (await client.get(f"/v1/searches/{search['id']}/table")).json()
    assert (profile["name"], profile["origin"]) == ("inline", "estimated")
    again = (await client.post("/v1/searches", json={**request, "device": profile})).json()
    assert again["id"] == search["id"]
    (table,) = (await client.post("/v1/devices", json=profile)).json()["tables"]
    assert table["sha256"] == search["request"]["device_sha256"]
    assert (await client.get("/v1/devices/inline/table")).json() == profile
    # Replaced by a new revision, when that is asked for.
    changed = {**profile, "network_overhead_ms": 0.25}
    assert (await client.post("/v1/devices", json=changed)).status_code == 409
    replaced = await client.post("/v1/devices?replace=true", json=changed)
    (table,) = replaced.json()["tables"]
    assert (table["revision"], table["network_overhead_ms"]) == (2, 0.25)


async def test_a_few_images_of_each_class(client, settings):
    path = f"/v1/supernets/{SUPERNET}/samples"
    items = (await client.get(path)).json()["items"]
    validation = Bundle.open(settings.home / "supernets" / SUPERNET).validation()
    assert [item["index"] for item in items] == sorted(set(validation.labels.tolist()))
    assert {len(item["images"]) for item in items} <= {1, 2, 3}
    content = base64.b64decode(items[0]["images"][0].removeprefix("data:image/jpeg;base64,"))
    shown = np.asarray(Image.open(io.BytesIO(content)), np.float64)
    (first, *_) = validation.images[validation.labels == items[0]["index"]]
    assert shown.shape == first.shape
    assert np.abs(shown - first).mean() < 20, "JPEG of noise"
    answer = (await client.get("/v1/supernets/ofa-mbv3-w1.0/samples")).json()
    assert (answer["items"], "no validation images" in answer["why_none"]) == ([], True)
    async with client_on(settings.model_copy(update={"sample_images": False})) as reserved:
        answer = (await reserved.get(path)).json()
    assert (answer["items"], "SUBNET_SAMPLE_IMAGES" in answer["why_none"]) == ([], True)


async def test_a_predictor_beside_what_was_measured(client, settings):
    path = f"/v1/supernets/{SUPERNET}/predictor"
    assert (await client.get(path)).json() == {"points": [], "shift_points": 0.0}
    bundle = Bundle.open(settings.home / "supernets" / SUPERNET)
    rows = [
        Measured(DEBUG.smallest, 60.0, "fit"),
        Measured(DEBUG.largest, 60.0, "test"),
        Measured(DEBUG.smallest, 60.0, "found"),
    ]
    card = {"predictor": {"shift_to_test_images": {"points": -2.0}}}
    add_to_bundle(bundle, card, {"measured.jsonl.gz": compress(rows)})
    points = (await client.get(path)).json()["points"]
    assert [(point["split"], point["measured"]) for point in points] == [
        *(("test", 58.0), ("found", 58.0))
    ]
    assert points[0]["predicted"] > points[1]["predicted"] > 0


async def test_where_images_lie_is_told_on_this_machine_alone(client, settings):
    bundle = Bundle.open(settings.home / "supernets" / SUPERNET)
    recipe = {"dataset": "/srv/secret/photos", "phases": [{"name": "a/b", "seen": ["/x/y"]}]}
    add_to_bundle(bundle, {"recipe": recipe}, {})
    told = (await client.get(f"/v1/supernets/{SUPERNET}")).json()["card"]["recipe"]
    assert told == {"dataset": "photos", "phases": [{"name": "a/b", "seen": ["y"]}]}
    assert describe_supernet(catalog_of(settings.home), SUPERNET).card["recipe"] == recipe


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
            {"table": {k: {**ms, "std_ms": 4 * ms["p50_ms"]} for k, ms in scaled(1).items()}},
            "vary by 400%",
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


PARTIAL = {"fingerprint": "x", "spent_s": 3.0, "visits": {"conv": [[1.0, 1.0]]}}


async def test_an_unfinished_measurement_is_called_so(client, run, tmp_path):
    refused = await client.post("/v1/devices", json=PARTIAL)
    assert refused.status_code == 422
    assert "an unfinished measurement" in refused.text
    (tmp_path / "board.json.partial").write_text(json.dumps(PARTIAL))
    told = run("devices", "import", tmp_path / "board.json.partial", code=2).stderr
    assert "unfinished measurement" in told
    assert "python measure.py NAME" in told


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


def measured(count, slowness, overhead_ms=0.0, seed=0):
    """Networks as a device times them that has become slower than its table says."""
    archs = DEBUG.decode(DEBUG.sample(count, np.random.default_rng(seed)))
    times = [make_table().network_ms(layer_plan(DEBUG, arch)) for arch in archs]
    return {
        "arch": [arch.to_json() for arch in archs],
        "latency_ms": [slowness * ms + overhead_ms for ms in times],
        "batch": 1,
    }


async def test_measurements_of_networks_in_ofas_form(client):
    body = measured(12, 1.5)
    theirs = [to_ofa(DEBUG, DEBUG.read_arch(arch)) for arch in body["arch"]]
    answer = await client.post(f"/v1/devices/{DEVICE}/measurements", json={**body, "arch": theirs})
    different = list({str(arch): arch for arch in body["arch"]}.values())
    assert [network["arch"] for network in answer.json()["networks"]] == different
    (said,) = [f["detail"] for f in answer.json()["lint"] if f["kind"] == "import"]
    assert said.startswith("measurements: ")
    assert "of 12 networks: entries of blocks beyond the depth of their stage are" in said
    theirs[7]["d"] = [3, 1]
    refused = await client.post(f"/v1/devices/{DEVICE}/measurements", json={**body, "arch": theirs})
    assert refused.status_code == 422
    assert "measurements.arch[7].d[0]: expected one of [1, 2], got 3" in refused.json()["detail"]


async def test_measurements_make_a_new_revision(client):
    body = measured(12, 1.5)
    answer = await client.post(f"/v1/devices/{DEVICE}/measurements", json=body)
    corrected = answer.json()
    assert answer.status_code == 200
    assert (corrected["space"], corrected["precision"], corrected["revision"]) == (
        ("debug", "fp32", 2)
    )
    assert corrected["mean_error_before"] == pytest.approx(1 / 3, abs=0.01)
    assert corrected["expected_error"] < 0.05
    assert len(corrected["networks"]) == len({str(arch) for arch in body["arch"]})
    for network in corrected["networks"]:
        assert network["predicted_before_ms"] == pytest.approx(network["measured_ms"] / 1.5)
        assert network["predicted_after_ms"] == pytest.approx(network["measured_ms"], rel=0.1)
    assert {finding["severity"] for finding in corrected["lint"]} <= {"warning"}
    (table,) = (await client.get(f"/v1/devices/{DEVICE}")).json()["tables"]
    assert (table["revision"], table["sha256"]) == (2, corrected["sha256"])
    assert table["origin"] == "fitted"
    assert [(r["revision"], r["networks"]) for r in table["revisions"]] == [
        *((2, len(body["arch"])), (1, None))
    ]


async def test_searches_before_measurements_are_no_longer_current(client):
    request = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 1.2}}
    search = (await client.post("/v1/searches", json=request)).json()
    assert search["current"] is True
    await client.post(f"/v1/devices/{DEVICE}/measurements", json=measured(12, 1.2))
    assert (await client.get(f"/v1/searches/{search['id']}")).json()["current"] is False


@pytest.mark.slow
async def test_a_device_that_comes_with_the_program_can_be_corrected(client):
    (before,) = (await client.get("/v1/devices/cpu-x86-64-ort")).json()["tables"][:1]
    space = (await client.get("/v1/supernets/fashion-mbv3")).json()["space"]
    bundle = Bundle.open(SHIPPED / "fashion-mbv3")
    table = BuiltinDevices().get("cpu-x86-64-ort").table(space["name"], "fp32")
    archs = bundle.space.decode(bundle.space.sample(6, np.random.default_rng(0)))
    times = [1.1 * table.network_ms(layer_plan(bundle.space, arch)) for arch in archs]
    body = {"arch": [arch.to_json() for arch in archs], "latency_ms": times}
    body |= {"space": space["name"], "precision": "fp32"}
    corrected = (await client.post("/v1/devices/cpu-x86-64-ort/measurements", json=body)).json()
    assert (before["revision"], corrected["revision"]) == (None, 1)
    assert corrected["mean_error_before"] == pytest.approx(0.1 / 1.1, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latency_ms": [1.0]}, "expected as many latency_ms as arch"),
        ({"batch": 2}, "batch: expected 1"),
        ({"space": "other"}, "which has debug (fp32)"),
        ({"precision": "int8"}, "which has debug (fp32)"),
        ({"space": 3}, "measurements.space: expected text"),
        ({"extra": 3}, "unknown field 'extra'"),
        ({"arch": [], "latency_ms": []}, "expected 1 to"),
    ],
)
async def test_bad_measurements_change_nothing(client, changes, words):
    body = {**measured(12, 1.5), **changes}
    answer = await client.post(f"/v1/devices/{DEVICE}/measurements", json=body)
    assert answer.status_code in (404, 422)
    assert words in answer.json()["detail"]
    (table,) = (await client.get(f"/v1/devices/{DEVICE}")).json()["tables"]
    assert table["revision"] == 1


async def test_too_few_measurements_are_refused_with_how_many_it_takes(client):
    answer = await client.post(f"/v1/devices/{DEVICE}/measurements", json=measured(2, 1.5))
    assert answer.status_code == 422
    assert "at least 3 different networks" in answer.json()["detail"]


async def test_what_a_kit_wrote_is_a_profile(client):
    options = MeasureOptions(target_s=0, min_rounds=2, runs=1, networks=6)
    device = FakeStopwatch()
    times = time_chains(
        plan_benchmark(DEBUG, options.networks, options.seed).timings, device, options
    )
    kit = {
        "space": "debug",
        "runtime": "onnxruntime",
        "precision": "fp32",
        "batch": 1,
        "rounds": {
            "format": 1,
            "resolutions": list(DEBUG.resolutions),
            **{name: getattr(options, name) for name in ("networks", "warmup", "runs", "seed")},
        },
    }
    profile = profile_of(kit, "board", {"threads": 1}, times)
    answer = await client.post("/v1/devices", json=profile)
    assert answer.status_code == 201, answer.text
    (table,) = answer.json()["tables"]
    assert (table["origin"], table["revision"], table["layers"]) == ("measured", 1, 42)
    assert table["expected_error"] < 0.01
    unknown = await client.post("/v1/devices", json={**profile, "space": "nowhere"})
    assert unknown.status_code == 404


async def test_the_ledger_is_that_of_the_card_and_the_stored_searches(client):
    path = "/v1/supernets/fashion-mbv3/ledger"
    found = (await client.get(path, params={"devices": 1000, "table_s": 60})).json()
    card = Bundle.open(SHIPPED / "fashion-mbv3").card
    assert found == ledger(card, Worked(0, 0.0), devices=1000, table_s=60)
    assert found["total"]["shared_kwh"] > card["energy"]["training"]["energy_kwh"]
    assert any("no search is stored yet" in line for line in found["missing"])
    assert (await client.get(path)).json()["devices"] == 100


@pytest.mark.parametrize("query", ["devices=0", "devices=x", "table_s=-1", "power_w=nan"])
async def test_a_ledger_of_impossible_numbers_is_refused(client, query):
    answer = await client.get(f"/v1/supernets/fashion-mbv3/ledger?{query}")
    assert answer.status_code == 422
    assert query.split("=")[0] in answer.text


async def test_a_ledger_without_any_power_says_what_to_state(client):
    answer = await client.get(f"/v1/supernets/{SUPERNET}/ledger")
    assert answer.status_code == 422
    assert "power" in answer.json()["detail"]

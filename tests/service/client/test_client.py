"""The typed client: on a service on a real port, on networks that break, on other servers."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from models import errors
from models.errors import InputError
from service.catalog.catalog import open_catalog
from service.client import client as client_module
from service.client.client import Client
from service.client.errors import (
    Conflict,
    DamagedDownload,
    Infeasible,
    NotFinished,
    NotFound,
    Refused,
    SearchCancelled,
    Unreachable,
)
from service.settings import Settings
from tests.processes import PATIENCE_S
from tests.service.conftest import DEVICE, SUPERNET, make_profile
from tests.service.serving import Breaking, serving

ROOT = Path(__file__).resolve().parents[3]
NETWORK = "note10_lat-8ms_top1-71.4_finetune-25"


@pytest.fixture(scope="module")
def settings(template, tmp_path_factory):
    home = tmp_path_factory.mktemp("served") / "home"
    return Settings(home=shutil.copytree(template, home), workers=0, poll_interval_s=0.01)


@pytest.fixture(scope="module")
def url(settings):
    with serving(settings, worker_thread=True) as url:
        yield url


@pytest.fixture
def client(url):
    with Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def idle_url(template, tmp_path_factory):
    """A service that works on nothing."""
    home = shutil.copytree(template, tmp_path_factory.mktemp("idle") / "home")
    with serving(Settings(home=home, workers=0, poll_interval_s=0.01)) as url:
        yield url


@pytest.fixture
def idle(idle_url):
    with Client(idle_url) as client:
        yield client


@pytest.fixture(scope="module")
def found(url):
    """A search that has succeeded."""
    with Client(url) as client:
        return client.search(SUPERNET, DEVICE, latency_ms=0.8)


# -- reading -------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_is_what_the_api_answers(client, url):
    for path, answer in (
        (f"/v1/supernets/{SUPERNET}", client.supernet(SUPERNET)),
        (f"/v1/devices/{DEVICE}", client.device(DEVICE)),
        (f"/v1/networks/{NETWORK}", client.network(NETWORK)),
        (f"/v1/supernets/{SUPERNET}/devices/{DEVICE}/front", client.front(SUPERNET, DEVICE)),
    ):
        assert answer.model_dump(mode="json") == httpx.get(url + path).json()
    assert SUPERNET in [item.name for item in client.supernets()]
    assert DEVICE in [item.name for item in client.devices()]
    assert client.trainings() == []
    with pytest.raises(NotFound, match="unknown training"):
        client.training("photos")
    assert client.networks(DEVICE) == []
    assert NETWORK in [item.id for item in client.networks("samsung-note10")]


@pytest.mark.slow
def test_a_front_answers_a_budget(client):
    points = client.front(SUPERNET, DEVICE).points
    (point,) = client.front(SUPERNET, DEVICE, points[2].latency_ms).points
    assert point == points[2]
    assert client.front(SUPERNET, DEVICE, precision="fp32").points == points
    with pytest.raises(NotFound, match="at int8"):
        client.front(SUPERNET, DEVICE, precision="int8")
    with pytest.raises(Refused, match="no whole network"):
        client.front(SUPERNET, DEVICE, latency_confidence=0.9)
    with pytest.raises(Infeasible) as info:
        client.front(SUPERNET, DEVICE, 1e-3)
    assert info.value.floor == points[0].latency_ms


def test_devices_are_added_once(client):
    added = client.add_device(make_profile("from-client"))
    assert client.device("from-client") == added
    with pytest.raises(Conflict, match="from-client"):
        client.add_device(make_profile("from-client"))
    with pytest.raises(Refused) as info:
        client.add_device(make_profile(batch=0))
    assert info.value.status == info.value.problem.status == 422
    assert info.value.request_id


# -- searching -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_is_waited_for_with_progress(client, settings):
    shares = []
    search = client.search(
        SUPERNET,
        DEVICE,
        latency_ms=0.7,
        seed=5,
        on_progress=lambda share, step: shares.append(share),
    )
    assert shares
    assert shares == sorted(shares)
    known = open_catalog(settings).context(SUPERNET, DEVICE).predict([search.arch])[0]
    for name in ("top1", "latency_ms", "macs", "params"):
        assert getattr(search, name) == known[name]
    assert search.finished
    assert search.result is not None
    assert search.sha256 == search.result.sha256
    again = client.search(SUPERNET, DEVICE, latency_ms=0.7, seed=5)
    assert again == search == client.get(search.id)


@pytest.mark.slow
def test_an_inline_device_and_several_limits(client):
    free = client.search(SUPERNET, make_profile("inline"), latency_ms=0.8)
    search = client.search(
        SUPERNET, make_profile("inline"), latency_ms=0.8, macs=free.macs - 1.0, params=1e9
    )
    assert search.macs < free.macs
    assert search.request["constraints"] == {
        "latency_ms": 0.8,
        "macs": free.macs - 1.0,
        "params": 1e9,
    }


def test_what_no_network_meets_has_a_floor_here_too(client):
    with pytest.raises(errors.Infeasible) as info:
        client.search(SUPERNET, DEVICE, latency_ms=1e-3)
    error = info.value
    assert (error.limit, error.budget, error.nearest) == (
        "latency_ms",
        1e-3,
        {"latency_ms": error.floor},
    )


@pytest.mark.slow
def test_a_queued_search_can_be_left_waited_for_and_cancelled(idle):
    search = idle.search(SUPERNET, DEVICE, latency_ms=0.8, wait=False)
    assert search.status == "queued"
    with pytest.raises(NotFinished, match="has no result"):
        _ = search.arch
    started = time.monotonic()
    with pytest.raises(NotFinished, match="it goes on") as info:
        idle.wait(search, timeout_s=0.3)
    assert 0.3 <= time.monotonic() - started < PATIENCE_S
    assert info.value.search == search
    with pytest.raises(NotFinished):
        idle.search(SUPERNET, DEVICE, latency_ms=0.8, timeout_s=0.1)
    assert idle.cancel(search).status == "cancelled"
    with pytest.raises(SearchCancelled):
        idle.wait(search.id, timeout_s=PATIENCE_S)
    kinds = [event.kind for event in idle.events(search, timeout_s=PATIENCE_S)]
    assert kinds == ["queued", "cancelled"]


@pytest.mark.slow
def test_stored_searches_are_listed_over_pages(idle, monkeypatch):
    for seed in range(5):
        idle.search(SUPERNET, DEVICE, latency_ms=0.9, seed=100 + seed, wait=False)
    every = list(idle.searches(status="queued", sort="created_at"))
    assert [s.request["seed"] for s in every][-5:] == [100, 101, 102, 103, 104]
    monkeypatch.setattr(client_module, "PAGE", 2)
    assert list(idle.searches(status="queued", sort="created_at")) == every
    assert list(idle.searches(status="queued", sort="created_at", limit=3)) == every[:3]
    assert list(idle.searches(limit=0)) == []
    assert list(idle.searches(device="another")) == []
    third, queued = every[2].created_at, {"status": "queued", "sort": "created_at"}
    assert list(idle.searches(**queued, created_before=third)) == every[:2]
    zoned = third.astimezone(timezone(timedelta(hours=2)))
    assert list(idle.searches(**queued, created_after=zoned)) == every[2:]
    assert list(idle.searches(**queued, created_after=third.date())) == every
    assert list(idle.searches(created_after="2100-01-01")) == []
    with pytest.raises(InputError, match="no time zone"):
        idle.searches(created_after=datetime(2026, 11, 24))


def test_names_are_no_paths(client):
    for name in ("", "..", "a/b", "a?b=c", "a#b", "a b", "a%2fb"):
        with pytest.raises(InputError, match="expected a name"):
            client.device(name)
    with pytest.raises(NotFound, match="unknown device"):
        client.device("no-such-device")
    with pytest.raises(errors.NotFound):
        client.get("0" * 32)


# -- downloads -----------------------------------------------------------------------------


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_model_is_whole_and_checked(client, found, tmp_path):
    seen = []
    path = client.download(
        found, tmp_path / "model.onnx", progress=lambda done, size: seen.append((done, size))
    )
    assert sha256(path) == found.sha256
    assert seen[-1] == (found.result.model_bytes,) * 2
    assert seen == sorted(seen)
    named = client.download(found.id, tmp_path)
    assert named == tmp_path / f"{SUPERNET}-{DEVICE}-{found.sha256[:8]}.onnx"
    assert len(list(tmp_path.iterdir())) == 2, "nothing else is left behind"
    with pytest.raises(InputError, match="a folder that exists"):
        client.download(found, tmp_path / "no" / "model.onnx")


def test_a_download_goes_on_where_it_broke(url, found, tmp_path):
    size = found.result.model_bytes
    network = Breaking(lambda request, number: size // 3 if number < 2 else None)
    with Client(url, transport=network) as client:
        path = client.download(found, tmp_path / "model.onnx")
    assert sha256(path) == found.sha256
    asked = [request.headers.get("Range") for request in network.requests]
    starts = [0, size // 3, 2 * (size // 3)]
    assert asked == [None, *(f"bytes={start}-" for start in starts[1:])]
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_later_call_goes_on_too(url, found, tmp_path, monkeypatch):
    monkeypatch.setattr("service.client.fetch.PAUSE_S", 0)
    network = Breaking(lambda request, number: 1000 if number == 0 else 0)
    with Client(url, transport=network) as client, pytest.raises(Unreachable):
        client.download(found, tmp_path / "model.onnx")
    (partial,) = tmp_path.iterdir()
    assert partial.stat().st_size == 1000
    with Client(url, transport=(network := Breaking(lambda *_: None))) as client:
        client.download(found, tmp_path / "model.onnx")
        assert network.requests[0].headers["Range"] == "bytes=1000-"
        client.download(found, tmp_path / "model.onnx")
        assert len(network.requests) == 1, "it is there already"
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("rest", [b"nonsense", b"x" * 10**6])
def test_nonsense_left_behind_is_thrown_away(client, found, tmp_path, rest):
    target = tmp_path / "model.onnx"
    target.with_name(f".model.onnx.{found.sha256[:16]}.partial").write_bytes(rest)
    assert sha256(client.download(found, target)) == found.sha256


def test_other_bytes_than_promised_are_not_kept(found, tmp_path):
    size = found.result.model_bytes
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"0" * (size + 7)))
    with Client(transport=transport) as client, pytest.raises(DamagedDownload, match="sha256"):
        client.download(found, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


# -- networks that break ------------------------------------------------------------------


@pytest.mark.slow
def test_events_go_on_where_the_stream_broke(url, found, monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE_S", 0.001)
    with Client(url) as client:
        whole = list(client.events(found, timeout_s=PATIENCE_S))
    lengths = itertools.count(60, 60)
    network = Breaking(lambda r, _: next(lengths) if r.url.path.endswith("/events") else None)
    with Client(url, transport=network) as client:
        assert list(client.events(found, timeout_s=PATIENCE_S)) == whole
    asked = [r.headers["Last-Event-ID"] for r in network.requests if "Last-Event-ID" in r.headers]
    assert asked
    assert whole[0].kind == "queued"
    assert whole[-1].kind == "succeeded"


@pytest.mark.slow
def test_a_service_that_says_nothing_is_not_waited_for(idle_url, monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE_S", 0.001)
    with Client(idle_url) as client:
        search = client.search(SUPERNET, DEVICE, latency_ms=0.95, wait=False)

    def answer(request):
        raise httpx.ReadTimeout("silence")

    with Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(Unreachable):
        client.wait(search, timeout_s=0.5)


# -- the command line ------------------------------------------------------------------------

ON = ("--supernet", SUPERNET, "--device", DEVICE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ("supernets", "list"),
        ("supernets", "show", SUPERNET),
        ("devices", "show", DEVICE),
        ("devices", "lint", DEVICE),
        ("networks", "list", "--device", "samsung-note10"),
        ("front", *ON, "--latency-ms", 0.8),
    ],
)
def test_commands_print_the_same_of_a_service(run, url, args, monkeypatch):
    for form in ((), ("--json",)):
        here = run(*args, *form).stdout
        assert run(*args, *form, "--server", url).stdout == here
    monkeypatch.setenv("SUBNET_SERVER", url)
    monkeypatch.setenv("SUBNET_HOME", "/nowhere")
    assert run(*args, "--json").stdout == here


@pytest.mark.slow
def test_search_of_a_service(run, run_json, url, client):
    args = ("search", *ON, "--latency-ms", 0.8, "--seed", 4)
    here, there = run_json(*args), run_json(*args, "--server", url)
    assert client.get(there.pop("id")).sha256 == there.pop("sha256")
    # A service makes the file too, and says what that showed.
    assert there.pop("verified")["onnx_checker"] == "passed"
    assert set(here.pop("warnings")) < set(there.pop("warnings"))
    assert {**there, "search_seconds": 0} == {**here, "search_seconds": 0}
    lines = [run(*args, *more).stdout.splitlines() for more in ((), ("--server", url))]
    clockless = [
        [line for line in text if not line.startswith(("found in", "search:"))] for text in lines
    ]
    assert clockless[0] == clockless[1]


@pytest.mark.slow
def test_an_infeasible_search_of_a_service(run, run_json, url):
    for asked in (("--latency-ms", 1e-3), ("--latency-ms", "1000.."), ("--min-top1", 100)):
        args = ("search", *ON, *asked, "--json")
        here, there = run(*args, code=2), run(*args, "--server", url, code=2)
        assert here.stdout == there.stdout
        assert here.stderr.splitlines()[-1] == there.stderr.splitlines()[-1]
    kept = ("--keep", "kernel=3", "--effort", "quick")
    args = ("search", *ON, "--latency-ms", "20%..80%", *kept)
    here, there = run_json(*args), run_json(*args, "--server", url)
    names = ("arch", "top1", "latency_ms", "limits", "asked", "minimums", "frozen", "effort")
    assert [here[name] for name in names] == [there[name] for name in names]


@pytest.mark.slow
def test_errors_of_a_service_have_the_same_exit_codes(run, url):
    assert "unknown device" in run("devices", "show", "x", "--server", url, code=2).stderr
    gone = run("devices", "list", "--server", "http://127.0.0.1:9", code=1)
    assert "no answer from http://127.0.0.1:9" in gone.stderr
    assert "expected one such as" in run("devices", "list", "--server", "x", code=2).stderr

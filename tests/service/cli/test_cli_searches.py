"""`searches`: the same table of stored searches from an installation and from its service."""

from __future__ import annotations

import csv
import io
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from service.catalog.catalog import open_catalog
from service.client.client import Client
from service.contracts.searches import SearchRequest
from service.jobs.submission import submit
from service.settings import Settings
from service.storage.database import current_database
from service.storage.searches import SearchStore
from tests.service.conftest import DEVICE, SUPERNET, keep, make_table
from tests.service.serving import serving

NOW = datetime.now(UTC).replace(microsecond=0)
AGES = [timedelta(days=20), timedelta(days=6), timedelta(hours=2)]


@pytest.fixture
def stored(home):
    """Searches that were asked long ago, last week and today, the newest first."""
    settings, ids = Settings(home=home), []
    keep(home, make_table("other-device"))
    with current_database(settings.database) as engine:
        for seed, (age, device) in enumerate(
            zip(AGES, (DEVICE, DEVICE, "other-device"), strict=True)
        ):
            store = SearchStore(engine, now=iter([NOW - age] * 9).__next__)
            asked = {"supernet": SUPERNET, "device": device, "constraints": {"latency_ms": 0.8}}
            request = SearchRequest.model_validate({**asked, "seed": seed})
            ids.append(submit(store, open_catalog(settings), request).id)
    return ids[::-1]


@pytest.fixture(params=["here", "there"])
def listed(request, run_json, stored, home):
    """Ids that `searches` lists with some options."""

    def listing(*options):
        def ask(*args):
            return [search["id"] for search in run_json("searches", *args, *options)]

        return ask

    if request.param == "here":
        yield listing()
        return
    with serving(Settings(home=home, workers=0)) as url:
        yield listing("--server", url)


@pytest.mark.slow
def test_filters(listed, stored):
    today, last_week, long_ago = stored
    assert listed() == [today, last_week, long_ago]
    assert listed("--device", DEVICE, "--since", "7d") == [last_week]
    assert listed("--since", "7d", "--until", "12h") == [last_week]
    assert listed("--since", (NOW - AGES[1]).isoformat()) == [today, last_week]
    assert listed("--until", (NOW - AGES[1]).isoformat()) == [long_ago]
    assert listed("--until", f"{(NOW - AGES[0]).date()}") == []
    assert listed("--supernet", SUPERNET, "--status", "queued", "--limit", 2) == stored[:2]
    assert listed("--status", "failed") == []


def test_a_table_for_people(run, stored):
    printed = run("searches", "--limit", 1)
    head, row = printed.stdout.splitlines()
    assert head.split() == [
        *("asked", "(UTC)", "id", "supernet", "device", "limits", "status", "top1", "latency_ms"),
        "runtime",
    ]
    assert row.split() == [
        *f"{NOW - AGES[2]:%Y-%m-%d %H:%M}".split(),
        *(stored[0], SUPERNET, "other-device", "latency_ms", "0.8", "queued"),
        *("unknown", "unknown", "unknown"),
    ]
    assert "there are more" in printed.stderr
    assert "there are more" not in run("searches").stderr
    assert "no stored search is like that" in run("searches", "--status", "failed").stderr


def test_a_spreadsheet_has_all_that_was_asked(run, home):
    settings = Settings(home=home)
    request = SearchRequest.model_validate(
        {
            "supernet": SUPERNET,
            "device": DEVICE,
            "constraints": {"latency_ms": {"min": 0.1, "max": 0.9}, "macs": {"min": 1}},
            "target": {"top1": 10.0, "minimize": "params"},
            "frozen": {"kernel": [3, 5], "resolution": 12},
        }
    )
    with current_database(settings.database) as engine:
        submit(SearchStore(engine), open_catalog(settings), request)
    (row,) = csv.DictReader(io.StringIO(run("searches", "--csv").stdout))
    assert {name: row[name] for name in ("precision", "limit_latency_ms", "minimize")} == {
        "precision": "fp32",
        "limit_latency_ms": "0.9",
        "minimize": "params",
    }
    numbers = ("minimum_latency_ms", "minimum_macs", "target_top1")
    assert [float(row[name]) for name in numbers] == [0.1, 1, 10]
    assert json.loads(row["frozen"]) == {"kernel": [3, 5], "resolution": [12]}
    assert (row["limit_macs"], row["latency_confidence"]) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--device", "debug-devise"), "did you mean 'debug-device'"),
        (("--supernet", "debug-nat"), "did you mean 'debug-net'"),
        (("--since", "yesterday"), "--since: expected a date such as"),
        (("--since", "2026-11-24T10:00"), "says no time zone"),
        (("--since", "1d", "--until", "2d"), "later than created_after"),
        (("--status", "lost"), "queued"),
        (("--limit", "0"), "limit"),
    ],
)
def test_what_does_not_hold_says_what_would(run, stored, options, words):
    assert words in run("searches", *options, code=2).stderr


@pytest.fixture(scope="module")
def delivered(template, tmp_path_factory):
    """A home with two finished searches, and the URL of its service."""
    settings = Settings(home=shutil.copytree(template, tmp_path_factory.mktemp("found") / "home"))
    with serving(settings, worker_thread=True) as url, Client(url) as client:
        yield (
            settings.home,
            url,
            [client.search(SUPERNET, DEVICE, latency_ms=ms) for ms in (0.7, 1)],
        )


@pytest.mark.slow
def test_a_model_is_the_same_from_here_and_from_there(run_json, delivered, monkeypatch, tmp_path):
    home, url, (search, _) = delivered
    monkeypatch.setenv("SUBNET_HOME", str(home))
    there = run_json("download", search.id, "-o", tmp_path / "there.onnx", "--server", url)
    here = run_json("download", search.id, "-o", tmp_path / "here.onnx")
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()
    assert here["sha256"] == there["sha256"] == search.sha256
    assert here["model_bytes"] == len((tmp_path / "here.onnx").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("place", ["here", "there"])
def test_finished_searches_are_filtered_compared_and_put_into_a_spreadsheet(
    run, run_json, delivered, monkeypatch, place
):
    home, url, (small, large) = delivered
    monkeypatch.setenv("SUBNET_HOME", str(home))
    where = ("--server", url) if place == "there" else ()
    fast = run_json("searches", "--latency-ms-max", small.latency_ms, *where)
    good = run_json("searches", "--top1-min", large.top1, *where)
    assert [search["id"] for search in (*fast, *good)] == [small.id, large.id]

    printed = run("searches", "--status", "succeeded", "--csv", *where).stdout
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(printed))}
    assert rows.keys() == {small.id, large.id}
    assert float(rows[large.id]["limit_latency_ms"]) == 1
    assert float(rows[large.id]["measured_top1"]) == large.found.verified["top1"]["value"]
    assert json.loads(rows[large.id]["arch"]) == large.found.arch.model_dump()

    both = run_json("compare", small.id, large.id, *where)["searches"]
    assert [search["id"] for search in both] == [small.id, large.id]
    lines = run("compare", small.id, large.id, *where).stdout.splitlines()
    (top1,) = [line.split() for line in lines if line.startswith("top1 ")]
    assert top1[1:] == [f"{small.top1:.4g}", f"{large.top1:.4g}"]
    assert {line.split()[0] for line in lines if line} >= {"network", "input", "stage1", "head"}


def test_what_cannot_be_compared(run, stored):
    assert "--csv or --json" in run("searches", "--csv", "--json", code=2).stderr
    assert "at least two different" in run("compare", stored[0], stored[0], code=2).stderr
    assert "is queued and has no network to compare" in run("compare", *stored[:2], code=2).stderr


def test_what_cannot_be_downloaded(run, stored, tmp_path):
    out = tmp_path / "net.onnx"
    assert "unknown search" in run("download", "none", "-o", out, code=2).stderr
    assert "is queued and has no model" in run("download", stored[0], "-o", out, code=2).stderr
    nowhere = tmp_path / "nowhere" / "net.onnx"
    assert "folder that exists" in run("download", stored[0], "-o", nowhere, code=2).stderr
    assert list(tmp_path.rglob("*.onnx")) == []

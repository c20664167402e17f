"""Workers bring searches to an end, also when they, or what they need, break on the way."""

from __future__ import annotations

import os
import shutil
import socket
from threading import Event

import pytest
from prometheus_client import CollectorRegistry

from models.errors import InputError
from service.artifacts import ArtifactStore
from service.jobs import submit
from service.metrics import WorkMetrics
from service.schemas import SearchRequest
from service.worker import Lease, Stopped, Worker, new_owner, requeue_dead
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_table


@pytest.fixture
def catalog(settings):
    return catalog_of(settings.home)


@pytest.fixture
def worker(store, catalog, settings):
    artifacts = ArtifactStore(settings.artifacts)
    return Worker(store, catalog, artifacts, settings, WorkMetrics(CollectorRegistry()))


@pytest.fixture
def ask(store, catalog):
    def ask(**changes):
        fields = {
            "supernet": SUPERNET,
            "device": DEVICE,
            "constraints": {"latency_ms": 0.8},
            **changes,
        }
        return submit(store, catalog, SearchRequest(**fields))

    return ask


def test_nothing_to_do(worker):
    assert not worker.run_once(Event())


def test_one_search(worker, store, ask):
    search = ask()
    assert worker.run_once(Event())
    done = store.get(search.id)
    assert (done.status, done.error, done.attempts) == ("succeeded", None, 1)
    assert worker.artifacts.get(done.artifact_sha256)
    assert store.owners() == []
    assert done.finished_at >= done.started_at >= done.created_at


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "does not match its card"),
        (lambda path: path.unlink(), "weights.safetensors is missing"),
    ],
)
def test_broken_weights_fail_the_search_and_nothing_else(worker, store, ask, home, damage, words):
    search = ask()
    weights = home / "supernets" / SUPERNET / "weights.safetensors"
    whole = weights.read_bytes()
    damage(weights)
    assert worker.run_once(Event())
    failed = store.get(search.id)
    assert (failed.status, failed.result, failed.artifact_sha256) == ("failed", None, None)
    assert (failed.error["title"], failed.error["status"]) == ("Corrupt bundle", 500)
    assert words in failed.error["detail"]
    assert not (home / "artifacts").exists()
    # Put back, the same question is asked again and answered.
    weights.write_bytes(whole)
    assert ask().id == search.id
    assert worker.run_once(Event())
    assert store.get(search.id).status == "succeeded"


def test_a_supernet_that_changed_meanwhile_is_not_searched(worker, store, ask, home):
    search = ask()
    card = home / "supernets" / SUPERNET / "card.json"
    sha256 = search.request["supernet_sha256"]
    card.write_text(card.read_text().replace(sha256, "0" * 64))
    worker.run_once(Event())
    assert "changed since this was asked" in store.get(search.id).error["detail"]


def test_a_supernet_that_is_gone(worker, store, ask, home):
    search = ask()
    shutil.rmtree(home / "supernets" / SUPERNET)
    worker.run_once(Event())
    assert store.get(search.id).error["title"] == "Not found"


def test_the_table_of_the_question_is_searched_whatever_became_of_the_device(
    worker, store, ask, home
):
    search = ask()
    keep(home, make_table(network_overhead_ms=9.0), replace=True)
    worker.run_once(Event())
    assert store.get(search.id).status == "succeeded"


def test_a_bug_fails_the_search_without_its_secrets(worker, store, ask, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr("service.worker.deliver", broken)
    search = ask()
    worker.run_once(Event())
    error = store.get(search.id).error
    assert error["title"] == "Internal error"
    assert "secret" not in str(error)


def test_a_search_that_kills_its_workers_is_given_up(worker, store, ask, settings):
    search = ask()
    for n in range(settings.max_attempts):
        assert store.claim_next(f"victim-{n}", 30)
        store.requeue(f"victim-{n}", forgive=False)
    assert worker.run_once(Event())
    error = store.get(search.id).error
    assert error["title"] == "Worker lost"
    assert "3 workers in turn" in error["detail"]


def test_cancelled_while_running(worker, store, ask, monkeypatch):
    search = ask()

    def cancelled_midway(*_, report, **__):
        store.cancel(search.id)
        report("search", 0.5)
        raise AssertionError("went on although cancelled")

    monkeypatch.setattr("service.worker.deliver", cancelled_midway)
    assert worker.run_once(Event())
    assert store.get(search.id).status == "cancelled"


def test_a_stopping_worker_puts_its_search_back(worker, store, ask, monkeypatch):
    search, stop = ask(), Event()

    def stopped_midway(*_, report, **__):
        stop.set()
        report("search", 0.5)
        raise AssertionError("went on although stopped")

    monkeypatch.setattr("service.worker.deliver", stopped_midway)
    worker.run(stop)
    back = store.get(search.id)
    assert (back.status, back.attempts) == ("queued", 0)


def test_a_lease_is_renewed_while_work_goes_on_and_then_no_more(store, ask, monkeypatch):
    search = ask()
    store.claim_next("w", 0.03)
    lease = Lease(store, search.id, "w", 0.03, Event())
    renewed = []

    def renew(*args):
        renewed.append(args)
        return len(renewed) < 3

    monkeypatch.setattr(store, "renew", renew)
    lease.renew_until_done()
    assert len(renewed) == 3
    with pytest.raises(Stopped):
        lease.report("search", 0.5)


def test_the_dead_are_told_from_the_living(store, ask):
    for seed in range(4):
        ask(seed=seed)
    host, nobody = socket.gethostname(), 2**22 + 1  # beyond Linux's largest process id
    owners = {
        "dead": f"{host}/{nobody}/x",
        "earlier": f"{host}/{os.getpid()}/x",  # this number, before this process had it
        "alive": f"{host}/{os.getppid()}/x",
        "elsewhere": f"other-{host}/{nobody}/x",
    }
    for owner in owners.values():
        store.claim_next(owner, 30)
    assert requeue_dead(store) == 2
    assert set(store.owners()) == {owners["alive"], owners["elsewhere"]}


def test_owners_are_distinct():
    assert new_owner() != new_owner()


def test_a_supernet_without_a_predictor_is_not_searched(ask, home, settings, store):
    bundle = catalog_of(home).supernets.get(SUPERNET)
    card = home / "supernets" / SUPERNET / "card.json"
    entry = f'"predictor.safetensors": "{bundle.card["files"]["predictor.safetensors"]}"'
    text = card.read_text()
    assert entry in text
    card.write_text(text.replace(f"{entry},", "").replace(f",\n  {entry}", ""))
    bundle.predictor_path.unlink()
    with pytest.raises(InputError, match="has no accuracy predictor"):
        ask()
    pairing = catalog_of(home).pairing(SUPERNET, DEVICE)
    (row,) = pairing.predict([bundle.space.largest])
    assert row["top1"] is None
    assert row["latency_ms"] > 0

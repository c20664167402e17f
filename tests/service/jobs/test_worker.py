"""Workers bring searches to an end, also when they, or what they need, break on the way."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from dbos import DBOS
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

import models.supernet.extraction
import service.delivery.bn_cache
import service.jobs.worker
from models.bundle.card import PREDICTOR
from models.errors import Conflict, InputError
from service.contracts.searches import SearchRequest
from service.jobs.queue import Durable
from service.jobs.submission import submit
from service.jobs.worker import Worker
from service.storage.artifacts import ArtifactStore
from service.storage.database import open_database
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from service.storage.sessions import unit_of_work
from service.storage.tables import ExecutorRow
from tests.processes import PATIENCE_S
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, keep, make_profile, make_table

ASKED = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


@pytest.fixture
def catalog(settings):
    return catalog_of(settings.home)


@pytest.fixture
def durable(home_engine):
    return Durable(home_engine)


@pytest.fixture
def worker(home_engine, durable, catalog, settings):
    return Worker(home_engine, durable, catalog, ArtifactStore(settings.artifacts), settings)


@pytest.fixture
def runs(home_engine, durable):
    return RunStore(home_engine, enqueue=durable.enqueue)


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


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def finish(worker, store, *searches):
    """Have a worker bring searches to an end; returns the last."""
    with worker.working():
        for search in searches:
            wait_until(lambda: store.get(search.id).finished)  # noqa: B023
    return store.get(searches[-1].id)


def kinds(store, search):
    return [e.kind for e in store.events(search.id) if e.kind != "progress"]


@pytest.mark.slow
def test_one_search(worker, store, ask, home, durable):
    search = ask()
    done = finish(worker, store, search)
    assert (done.status, done.error, done.attempts, done.run) == ("succeeded", None, 1, 1)
    assert worker.artifacts.get(done.artifact_sha256)
    assert done.finished_at >= done.started_at >= done.created_at
    assert kinds(store, search) == ["queued", "running", "succeeded"]
    assert durable.states([search.workflow_id])[search.workflow_id].status == "SUCCESS"
    assert worker.executors.heartbeats() == {}, "a worker that stopped in order is forgotten"
    files = [path.name for path in (home / "artifacts").rglob("*") if path.is_file()]
    assert files == [done.artifact_sha256], "drafts are cleared away"


@pytest.mark.slow
def test_a_step_that_cannot_be_noted_is_no_failure(worker, store, ask, monkeypatch):
    """The database goes away as DBOS notes a step: the run ends in success all the same."""
    monkeypatch.setattr(service.jobs.worker, "SWEEP_EVERY_S", 0.0)
    real, refused = DBOS.run_step, list[str]()

    def run_step(options, *args):
        if options["name"] == "build" and not refused:
            refused.append(options["name"])
            raise OperationalError("INSERT", {}, Exception("connection is bad"))
        return real(options, *args)

    monkeypatch.setattr(DBOS, "run_step", run_step)
    search = ask()
    done = finish(worker, store, search)
    assert len(refused) == 1
    assert (done.status, done.error) == ("succeeded", None)
    assert "failed" not in kinds(store, search)


@pytest.mark.slow
def test_a_network_that_another_search_found_is_not_recalibrated_again(
    store, ask, home_engine, durable, catalog, settings, monkeypatch
):
    """Two searches, two workers, one network: the second finds the statistics of the first."""
    done: list[object] = []

    def counted(subnet, images, threads):
        done.append(subnet)
        models.supernet.extraction.recalibrate(subnet, images, threads)

    monkeypatch.setattr(service.delivery.bn_cache, "recalibrate", counted)
    results = []
    for seed in (0, 1):
        artifacts = ArtifactStore(settings.artifacts)
        worker = Worker(home_engine, durable, catalog, artifacts, settings)
        results.append(finish(worker, store, ask(seed=seed)).result)
    assert results[0]["arch"] == results[1]["arch"]
    assert results[0]["sha256"] == results[1]["sha256"]
    assert len(done) == 1


@pytest.mark.slow
def test_on_either_database_each_search_is_done_once(database_url, settings, catalog):
    """Many ask the same and different things at once; a worker answers each thing once."""
    engine = open_database(database_url)
    durable = Durable(engine)
    store = SearchStore(engine, enqueue=durable.enqueue)
    worker = Worker(engine, durable, catalog, ArtifactStore(settings.artifacts), settings)
    requests = [SearchRequest.model_validate({**ASKED, "seed": n % 3}) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        searches = list(pool.map(lambda request: submit(store, catalog, request), requests))
    distinct = {search.id: search for search in searches}
    assert len(distinct) == 3
    finish(worker, store, *distinct.values())
    for search in distinct.values():
        assert kinds(store, search) == ["queued", "running", "succeeded"]
    assert store.counts() == {"succeeded": 3}
    engine.dispose()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "does not match its card"),
        (lambda path: path.unlink(), "weights.safetensors is missing"),
    ],
)
@pytest.mark.slow
def test_broken_weights_fail_the_search_and_nothing_else(
    worker, store, ask, home, damage, words, home_engine, durable, catalog, settings
):
    search = ask()
    weights = home / "supernets" / SUPERNET / "weights.safetensors"
    whole = weights.read_bytes()
    damage(weights)
    failed = finish(worker, store, search)
    assert (failed.status, failed.result, failed.artifact_sha256) == ("failed", None, None)
    assert (failed.error["title"], failed.error["status"]) == ("Corrupt bundle", 500)
    assert words in failed.error["detail"]
    assert not any(path.is_file() for path in (home / "artifacts").rglob("*"))
    # Put back, the same question is asked again and answered.
    weights.write_bytes(whole)
    assert ask().id == search.id
    another = Worker(home_engine, durable, catalog, worker.artifacts, settings)
    done = finish(another, store, search)
    assert (done.status, done.run) == ("succeeded", 2)


@pytest.mark.slow
def test_what_changed_or_went_since_it_was_asked(worker, store, ask, home):
    changed = ask()
    card = home / "supernets" / SUPERNET / "card.json"
    text, sha256 = card.read_text(), changed.request["supernet_sha256"]
    card.write_text(text.replace(sha256, "0" * 64))
    with worker.working():
        wait_until(lambda: store.get(changed.id).finished)
        assert "changed since this was asked" in store.get(changed.id).error["detail"]
        card.write_text(text)
        kept = ask(seed=1)
        keep(home, make_table(network_overhead_ms=9.0), replace=True)
        wait_until(lambda: store.get(kept.id).finished)
        assert store.get(kept.id).status == "succeeded", "the table of the question is searched"
        gone = ask(seed=2, device=make_profile("mine"))
        shutil.rmtree(home / "supernets" / SUPERNET)
        wait_until(lambda: store.get(gone.id).finished)
        assert store.get(gone.id).error["title"] == "Not found"


@pytest.mark.slow
def test_a_bug_fails_the_search_without_its_secrets(worker, store, ask, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr("service.jobs.worker.deliver", broken)
    error = finish(worker, store, ask()).error
    assert error["title"] == "Internal error"
    assert "secret" not in str(error)


def test_a_search_that_kills_its_workers_is_given_up(worker, store, ask, settings, runs):
    search = ask()
    for n in range(settings.max_attempts):
        assert runs.start(search.id, 1, f"victim-{n}")
    error = finish(worker, store, search).error
    assert error["title"] == "Worker lost"
    assert "3 workers in turn" in error["detail"]


@pytest.mark.slow
def test_cancelled_while_running(worker, store, ask, monkeypatch):
    search = ask()

    def cancelled_midway(*_, report, **__):
        store.cancel(search.id)
        report("search", 0.5)
        raise AssertionError("went on although cancelled")

    monkeypatch.setattr("service.jobs.worker.deliver", cancelled_midway)
    with worker.working():
        wait_until(lambda: store.get(search.id).finished and not worker.running)
    assert store.get(search.id).status == "cancelled"
    assert kinds(store, search) == ["queued", "running", "cancelled"]


@pytest.mark.slow
def test_a_search_over_its_time_fails_with_the_limit(worker, store, ask, monkeypatch, settings):
    slow = settings.model_copy(update={"job_timeout_s": 0.05})
    monkeypatch.setattr(worker, "settings", slow)

    def endless(*_, report, **__):
        while True:
            time.sleep(0.01)
            report("search", 0.5)

    monkeypatch.setattr("service.jobs.worker.deliver", endless)
    error = finish(worker, store, ask()).error
    assert error["title"] == "Time limit"
    assert "0.05 s" in error["detail"]


@pytest.mark.parametrize("shutdown_s", [0.0, 30.0])
@pytest.mark.slow
def test_a_stopping_worker_finishes_its_search_or_puts_it_back(
    worker, store, ask, monkeypatch, settings, shutdown_s, durable, home_engine, catalog
):
    monkeypatch.setattr(worker, "settings", settings.model_copy(update={"shutdown_s": shutdown_s}))
    search, begun = ask(), Event()

    def slow(*args, report, **names):
        begun.set()
        for _ in range(60):
            time.sleep(0.005)
            report("search", 0.5)
        raise RuntimeError("an end")

    monkeypatch.setattr("service.jobs.worker.deliver", slow)
    with worker.working():
        assert begun.wait(PATIENCE_S)
    stopped = store.get(search.id)
    if shutdown_s:
        assert stopped.status == "failed"
        return
    assert stopped.status == "queued"
    assert stopped.attempts == 0
    state = durable.states([search.workflow_id])[search.workflow_id]
    assert (state.status, state.queue_name) == ("ENQUEUED", "searches")
    monkeypatch.undo()
    another = Worker(home_engine, durable, catalog, worker.artifacts, settings)
    assert finish(another, store, search).status == "succeeded"
    assert kinds(store, search) == ["queued", "running", "queued", "running", "succeeded"]


@pytest.mark.slow
def test_a_run_goes_on_after_its_last_finished_step(
    worker, store, ask, monkeypatch, home_engine, durable, catalog, settings
):
    """A worker that dies while it builds does not search again; what it did is used."""
    import service.delivery.delivery
    import service.delivery.model_builder

    search, calls = ask(), []
    real_search, real_build = (
        service.delivery.delivery.run_search,
        service.delivery.model_builder.ModelBuilder.build,
    )

    def counted(*args):
        calls.append("search")
        return real_search(*args)

    def dying(*args, **kwargs):
        worker.stopping.set()
        worker.abandon.set()
        kwargs["report"]("build", 0.5)
        raise AssertionError("went on although dead")

    monkeypatch.setattr("service.delivery.delivery.run_search", counted)
    monkeypatch.setattr("service.delivery.model_builder.ModelBuilder.build", dying)
    with worker.working():
        wait_until(lambda: worker.abandon.is_set() and not worker.running)
    monkeypatch.setattr("service.delivery.model_builder.ModelBuilder.build", real_build)
    another = Worker(home_engine, durable, catalog, worker.artifacts, settings)
    done = finish(another, store, search)
    assert (done.status, calls) == ("succeeded", ["search"])


@pytest.mark.slow
def test_storage_that_fails_for_a_moment_is_tried_again(worker, store, ask, monkeypatch):
    write, failures = ArtifactStore._write, iter([OSError(28, "No space left on device")])

    def sometimes(self, path, content):
        if (error := next(failures, None)) is not None:
            raise error
        write(self, path, content)

    monkeypatch.setattr(ArtifactStore, "_write", sometimes)
    assert finish(worker, store, ask()).status == "succeeded"


@pytest.mark.slow
def test_storage_that_stays_full_fails_the_search_and_says_why(worker, store, ask, monkeypatch):
    def full(self, path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArtifactStore, "_write", full)
    failed = finish(worker, store, ask())
    assert failed.error["title"] == "Artifact unwritable"
    assert "No space left on device" in failed.error["detail"]


def test_a_supernet_without_a_predictor_is_not_searched(ask, home, settings, store):
    bundle = catalog_of(home).supernets.get(SUPERNET)
    card = home / "supernets" / SUPERNET / "card.json"
    entry = f'"predictor.safetensors": "{bundle.card["files"]["predictor.safetensors"]}"'
    text = card.read_text()
    assert entry in text
    card.write_text(text.replace(f"{entry},", "").replace(f",\n  {entry}", ""))
    (bundle.path / PREDICTOR).unlink()
    with pytest.raises(InputError, match="has no accuracy predictor"):
        ask()
    context = catalog_of(home).context(SUPERNET, DEVICE)
    (row,) = context.predict([bundle.space.largest])
    assert row["top1"] is None
    assert row["latency_ms"] > 0


def test_a_worker_whose_name_another_process_uses_ends_without_its_runs(
    worker, home_engine, monkeypatch
):
    ended = Event()

    def end(code):
        assert code == service.jobs.worker.EXIT_REFUSED
        ended.set()
        worker.abandon.set()

    monkeypatch.setattr("service.jobs.worker.os._exit", end)
    fast = worker.settings.model_copy(update={"dead_after_s": 0.5})
    monkeypatch.setattr(worker.recovery, "dead_after_s", fast.dead_after_s)
    worker.executors.heartbeat(worker.executor, "another", {"another"})
    with pytest.raises(Conflict, match="another process works under the name"):
        worker._beat()
    worker.executors.remove(worker.executor)
    with worker.working():
        with unit_of_work(home_engine) as session:  # in one statement: the worker beats meanwhile
            session.execute(update(ExecutorRow).values(token="another"))
        assert ended.wait(PATIENCE_S)

"""The store's contract, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError

from models.errors import Conflict, InputError, NotFound
from service.contracts.errors import QueueFull, StoreUnavailable
from service.contracts.records import Worked
from service.storage.counters import CounterStore
from service.storage.database import open_database
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from tests.service.stored import PROBLEM, RESULT, START, new, succeed


@pytest.fixture
def store(stored):
    return stored


@pytest.fixture
def runs(store, clock):
    return RunStore(store._engine, clock)


# -- asking --------------------------------------------------------------------------------


def test_a_submitted_search_waits_with_its_profile(store):
    search = store.submit(new())
    assert store.get(search.id) == search
    assert (search.status, search.attempts, search.created_at) == ("queued", 0, START)
    assert store.profile(search.profile_sha256) == "table of phone"
    assert [event.kind for event in store.events(search.id)] == ["queued"]


def test_the_same_request_is_the_same_search(store):
    assert store.submit(new(1)).id == store.submit(new(1)).id
    assert store.submit(new(2)).id != store.submit(new(1)).id


def test_many_at_once_store_one_search(store):
    with ThreadPoolExecutor(8) as pool:
        ids = {search.id for search in pool.map(lambda _: store.submit(new()), range(16))}
    assert len(ids) == 1
    assert store.counts() == {"queued": 1}


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_asking_again_queues_what_was_cancelled_or_failed(store, runs, end):
    search = store.submit(new())
    runs.start(search.id, 1, "w")
    if end == "cancel":
        store.cancel(search.id)
    else:
        runs.fail(search, "w", PROBLEM)
    again = store.submit(new())
    assert (again.id, again.status, again.run) == (search.id, "queued", 2)
    assert (again.error, again.finished_at, again.attempts) == (None, None, 0)


def test_asking_again_leaves_what_succeeded(store):
    search_id = succeed(store, 0, 1.0, 90.0)
    assert store.submit(new(0)).status == "succeeded"
    assert store.get(search_id).result == {**RESULT, "latency_ms": 1.0}


def test_a_request_is_found_unless_it_would_be_done_again(store, runs):
    request_sha256 = new().request_sha256
    assert store.find_by_request(request_sha256) is None
    search = store.submit(new())
    assert store.find_by_request(request_sha256) == search
    runs.start(search.id, search.run, "w")
    runs.fail(search, "w", PROBLEM)
    assert store.find_by_request(request_sha256) is None
    assert store.submit(new()).id == search.id
    assert store.find_by_request(request_sha256) == store.get(search.id)


def test_a_key_stands_for_one_request(store):
    search = store.submit(new(), ("key", "body"))
    assert store.find_by_key("key", "body") == search
    assert store.find_by_key("other", "body") is None
    with pytest.raises(InputError, match="used for another request"):
        store.find_by_key("key", "other body")


def test_an_unknown_search_is_not_found(store):
    for ask in (store.get, store.cancel):
        with pytest.raises(NotFound, match="unknown search 'nope'"):
            ask("nope")


# -- working -------------------------------------------------------------------------------


def test_a_run_is_started_by_its_number(store, runs, clock):
    search = store.submit(new())
    clock.advance(1)
    started = runs.start(search.id, 1, "w")
    assert (started.status, started.attempts, started.started_at) == ("running", 1, clock())
    assert runs.start(search.id, 2, "w") is None
    assert runs.start("nope", 1, "w") is None


def test_the_last_that_starts_a_run_has_it(store, runs):
    search = store.submit(new())
    runs.start(search.id, 1, "first")
    assert runs.report(search, "first", {"step": "search", "share": 0.1})
    assert runs.start(search.id, 1, "second").attempts == 2
    assert not runs.report(search, "first", {"step": "search", "share": 0.2})
    assert not runs.succeed(search, "first", RESULT)
    assert not runs.fail(search, "first", PROBLEM)
    assert runs.succeed(search, "second", {**RESULT, "sha256": "b" * 64})
    assert not runs.succeed(search, "second", RESULT), "an end is an end"
    assert store.get(search.id).artifact_sha256 == "b" * 64
    kinds = [event.kind for event in store.events(search.id)]
    assert kinds == ["queued", "running", "progress", "running", "succeeded"]


def test_many_at_once_end_a_run_once(store, runs):
    search = store.submit(new())
    runs.start(search.id, 1, "w")

    def end(n):
        return runs.fail(search, "w", PROBLEM) if n % 2 else runs.succeed(search, "w", RESULT)

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(end, range(16)))
    assert ended.count(True) == 1
    assert len([e for e in store.events(search.id) if e.kind in ("succeeded", "failed")]) == 1


def test_a_cancelled_search_drops_its_result(store, runs):
    search = store.submit(new())
    runs.start(search.id, 1, "w")
    assert store.cancel(search.id).status == "cancelled"
    assert store.cancel(search.id).status == "cancelled"
    assert not runs.report(search, "w", {})
    assert not runs.succeed(search, "w", RESULT)
    # Asked again, the worker of the run before has no say in this one.
    again = store.submit(new())
    runs.start(again.id, 2, "w")
    assert not runs.succeed(search, "w", RESULT)
    assert store.get(search.id).status == "running"


def test_what_is_finished_cannot_be_cancelled(store):
    search_id = succeed(store, 0, 1.0, 90.0)
    with pytest.raises(Conflict, match="has succeeded"):
        store.cancel(search_id)


def test_events_tell_the_story_and_can_be_resumed(store, runs):
    search = store.submit(new())
    runs.start(search.id, 1, "w")
    runs.report(search, "w", {"step": "search", "share": 0.5})
    runs.fail(search, "w", PROBLEM)
    events = store.events(search.id)
    assert [e.kind for e in events] == ["queued", "running", "progress", "failed"]
    assert events[2].data == {"step": "search", "share": 0.5}
    assert events[3].data == PROBLEM
    assert store.events(search.id, after=events[1].id) == events[2:]


@pytest.mark.parametrize(("count_attempt", "attempts"), [(False, 0), (True, 1)])
def test_release_puts_back_what_one_worker_has(store, runs, count_attempt, attempts):
    first, second = store.submit(new(1)), store.submit(new(2))
    runs.start(first.id, 1, "dead")
    runs.start(second.id, 1, "alive")
    assert runs.release("dead", count_attempt=count_attempt) == 1
    assert [store.get(s.id).status for s in (first, second)] == ["queued", "running"]
    assert runs.start(first.id, 1, "w").attempts == attempts + 1


def test_a_run_that_nothing_works_on_is_another_run(store, runs):
    enqueued = []
    runs._enqueue = lambda session, search: enqueued.append(search.workflow_id)
    search = store.submit(new())
    runs.start(search.id, 1, "lost")
    assert [s.id for s in runs.unfinished(10)] == [search.id]
    assert runs.rerun(search)
    assert not runs.rerun(search), "of two that notice, one acts"
    again = store.get(search.id)
    assert (again.status, again.run, enqueued) == ("queued", 2, [f"{search.id}.2"])
    runs.start(search.id, 2, "w")
    runs.fail(again, "w", PROBLEM)
    assert not runs.rerun(again)
    assert runs.unfinished(10) == []


def test_what_is_enqueued_is_what_is_stored(store):
    """One transaction: a queue that does not take it leaves no search behind."""

    def refuse(session, search):
        raise RuntimeError("no queue")

    store._enqueue = refuse
    with pytest.raises(RuntimeError, match="no queue"):
        store.submit(new())
    assert store.counts() == {}


def test_a_full_queue_takes_nothing_new(store, runs):
    store._max_queued = 1
    waiting = store.submit(new(0))
    with pytest.raises(QueueFull, match="1 searches wait"):
        store.submit(new(1))
    assert store.submit(new(0)) == waiting
    runs.start(waiting.id, 1, "w")
    assert store.submit(new(1)).status == "queued"


def test_counters_grow_with_what_they_count(store, runs, clock):
    counters = CounterStore(store._engine)
    started = runs.start(store.submit(new()).id, 1, "w")
    clock.advance(3)
    runs.succeed(started, "w", RESULT)
    assert counters.all() == {
        ("searches_ended", "succeeded"): 1,
        ("search_seconds", "5"): 1,
        ("search_seconds", "sum"): 3,
    }
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: counters.add({("a", "x"): 1, ("b", "y"): 2}), range(20)))
    assert (counters.all()[("a", "x")], counters.all()[("b", "y")]) == (20, 40)


def test_the_database_refuses_impossible_rows(store):
    search = store.submit(new())
    for change in (
        "status = 'lost'",
        "status = 'running'",
        "status = 'succeeded'",
        "status = 'failed'",
        "worker = 'w'",
        "finished_at = created_at",
        "profile_sha256 = 'none'",
    ):
        with pytest.raises(IntegrityError), store.session_scope() as session:
            session.connection().exec_driver_sql(f"UPDATE searches SET {change}")
    assert store.get(search.id) == search


def test_a_database_that_does_not_answer_is_said_to(tmp_path):
    store = SearchStore(open_database(f"sqlite:///{tmp_path / 'empty.sqlite'}"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.counts()
    store._engine.dispose()


# -- what it cost --------------------------------------------------------------------------


def test_time_worked_is_that_of_what_succeeded(store, runs, clock):
    for seed, seconds in enumerate((2.0, 5.0)):
        search = store.submit(new(seed))
        assert runs.start(search.id, search.run, "w") is not None
        clock.advance(seconds)
        assert runs.succeed(search, "w", RESULT)
    failed = store.submit(new(9))
    assert runs.start(failed.id, failed.run, "w") is not None
    clock.advance(100)
    assert runs.fail(failed, "w", PROBLEM)
    store.submit(new(10))
    assert store.worked("net") == Worked(2, 7.0)
    assert store.worked("another") == Worked(0, 0)

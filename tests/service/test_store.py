"""The store's contract, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.exc import IntegrityError

from models.errors import Conflict, InputError, NotFound
from service.database import open_database
from service.jobs import sha256_of
from service.ledger import Worked
from service.paging import SearchFilter, page_queries
from service.records import NewSearch
from service.run_store import RunStore
from service.store import QueueFull, SearchStore, StoreUnavailable
from service.tables import Base
from service.tallies import TallyStore

START = datetime(2025, 1, 1, tzinfo=UTC)
RESULT = {"latency_ms": 1.5, "top1": 90.0, "sha256": "a" * 64}
PROBLEM = {"title": "Infeasible", "status": 422}


class ManualClock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(database_url, clock):
    engine = open_database(database_url)
    yield SearchStore(engine, clock)
    engine.dispose()


def new(seed=0, device="phone", supernet="net"):
    request = {"seed": seed, "device": device, "supernet": supernet}
    return NewSearch(
        request=request,
        request_sha256=sha256_of(request),
        supernet=supernet,
        device=device,
        profile_sha256=sha256_of({"device": device}),
        profile=f"table of {device}",
    )


@pytest.fixture
def runs(store, clock):
    return RunStore(store._engine, clock)


def succeed(store, seed, latency_ms, top1, **names):
    search = store.submit(new(seed, **names))
    runs = RunStore(store._engine, store._now)
    assert runs.start(search.id, search.run, "w") is not None
    result = {"latency_ms": latency_ms, "top1": top1, "sha256": "a" * 64}
    assert runs.succeed(search, "w", result)
    return search.id


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


@pytest.mark.parametrize(("forgive", "attempts"), [(True, 0), (False, 1)])
def test_release_puts_back_what_one_worker_has(store, runs, forgive, attempts):
    first, second = store.submit(new(1)), store.submit(new(2))
    runs.start(first.id, 1, "dead")
    runs.start(second.id, 1, "alive")
    assert runs.release("dead", forgive=forgive) == 1
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


def test_tallies_grow_with_what_they_count(store, runs, clock):
    tallies = TallyStore(store._engine)
    started = runs.start(store.submit(new()).id, 1, "w")
    clock.advance(3)
    runs.succeed(started, "w", RESULT)
    assert tallies.all() == {
        ("searches_ended", "succeeded"): 1,
        ("search_seconds", "5"): 1,
        ("search_seconds", "sum"): 3,
    }
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tallies.add({("a", "x"): 1, ("b", "y"): 2}), range(20)))
    assert (tallies.all()[("a", "x")], tallies.all()[("b", "y")]) == (20, 40)


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


# -- pages ---------------------------------------------------------------------------------

FOUND = [(2.0, 91.0), (1.0, 90.0), (1.0, 89.0), (3.0, 93.0)]
"""(latency_ms, top1) of finished searches, oldest first; a queued one comes after them."""


WINDOW = {"created_after", "created_before"}
"""Filters by time, here in seconds since the first was asked; each came a second after another."""


@pytest.fixture
def filled(store, clock):
    for seed, (latency_ms, top1) in enumerate(FOUND):
        succeed(store, seed, latency_ms, top1, device="ab"[seed % 2], supernet="net")
        clock.advance(1)
    store.submit(new(9, device="a", supernet="other"))
    return store


def walk(store, **wanted):
    """All pages' items, a page at a time, and the number of pages."""
    items, cursor, pages = [], None, 0
    while True:
        page = store.page(SearchFilter(**wanted), cursor)
        items += page.items
        pages += 1
        cursor = page.next_cursor
        if cursor is None:
            return items, pages


def dumb(store, sort):
    """The same order by a plain sort in memory: missing values last whichever way."""
    items, _ = walk(store, sort="created_at", limit=200)
    name, down = sort.lstrip("-"), sort.startswith("-")
    items.sort(key=lambda s: s.id, reverse=down)

    def value(search):
        if name == "created_at":
            return search.created_at
        return search.result[name] if search.result else float("-inf" if down else "inf")

    return sorted(items, key=value, reverse=down)


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
@pytest.mark.parametrize(
    "sort", ["created_at", "-created_at", "latency_ms", "-latency_ms", "top1", "-top1"]
)
def test_pages_are_the_sorted_whole(filled, sort, limit):
    items, pages = walk(filled, sort=sort, limit=limit)
    assert [i.id for i in items] == [i.id for i in dumb(filled, sort)]
    assert pages == -(-len(items) // limit)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"supernet": "other"}, 1),
        ({"device": "a"}, 3),
        ({"status": "queued"}, 1),
        ({"latency_ms_max": 1.0}, 2),
        ({"top1_min": 90.0}, 3),
        ({"latency_ms_max": 2.0, "top1_min": 90.0, "device": "b"}, 1),
        ({"device": "none"}, 0),
        ({"created_after": 1}, 4),
        ({"created_before": 1}, 1),
        ({"created_after": 1, "created_before": 3}, 2),
        ({"created_after": 1, "device": "a"}, 2),
        ({"created_after": 5}, 0),
    ],
)
def test_filters(filled, wanted, count):
    moments = {name: START + timedelta(seconds=wanted[name]) for name in WINDOW & wanted.keys()}
    items, _ = walk(filled, **{**wanted, **moments})
    assert len(items) == count


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "latency_ms", "-top1"])
@pytest.mark.parametrize("limit", [1, 200])
def test_a_window_is_what_was_asked_in_it(filled, sort, limit):
    """Windows that follow one another have each search once."""
    every = dumb(filled, sort)
    edges = [START + timedelta(seconds=s) for s in (0, 1, 3, 4)]
    for after, before in itertools.pairwise(edges):
        items, _ = walk(filled, sort=sort, limit=limit, created_after=after, created_before=before)
        assert [i.id for i in items] == [i.id for i in every if after <= i.created_at < before]
    zoned = edges[1].astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert len(walk(filled, created_after=zoned)[0]) == 4


def test_a_window_that_ends_before_it_starts_is_refused():
    with pytest.raises(InputError, match="expected a moment later than created_after"):
        SearchFilter(created_after=START, created_before=START)


@pytest.mark.parametrize(
    ("device", "index"),
    [(None, "ix_searches_created_at_id"), ("a", "ix_searches_device_created_at_id")],
)
def test_an_index_serves_a_window(store, device, index):
    """Nothing is sorted, and nothing is read that is not in the window."""
    wanted = SearchFilter(
        device=device, created_after=START, created_before=START + timedelta(days=7)
    )
    for seed in range(100):
        store.submit(new(seed, device="abcdefghij"[seed % 10]))
    (query,) = page_queries(wanted, None)
    dialect = store._engine.dialect
    text = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    with store._engine.connect() as connection:
        if dialect.name == "postgresql":  # which reads a small table as a whole, unless it may not
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_bitmapscan = off")
            connection.exec_driver_sql("ANALYZE searches")
            plan = connection.exec_driver_sql(f"EXPLAIN {text}").all()
        else:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    words = " ".join(str(row) for row in plan)
    assert index in words
    assert "created_at" in words.split(index)[1], "the index alone knows the window"
    assert "Sort" not in words
    assert "TEMP B-TREE" not in words


def test_a_search_stored_meanwhile_repeats_and_hides_nothing(filled):
    first = filled.page(SearchFilter(limit=2))
    filled.submit(new(99))
    rest = filled.page(SearchFilter(limit=200), first.next_cursor)
    ids = [i.id for i in (*first.items, *rest.items)]
    assert len(ids) == len(set(ids)) == len(FOUND) + 1


@pytest.mark.parametrize("cursor", ["", "x", "bm9wZQ==", "WzEsMiwzXQ==", "Ly8vLw==\x00"])
def test_a_foreign_cursor_is_refused(filled, cursor):
    with pytest.raises(InputError, match="cursor: expected next_cursor"):
        filled.page(SearchFilter(), cursor)


def test_a_cursor_of_another_order_is_refused(filled):
    page = filled.page(SearchFilter(sort="top1", limit=1))
    with pytest.raises(InputError, match="sort=latency_ms"):
        filled.page(SearchFilter(sort="latency_ms"), page.next_cursor)


def test_every_table_has_a_primary_key():
    assert all(table.primary_key.columns for table in Base.metadata.sorted_tables)


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

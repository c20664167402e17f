"""The store's contract, on every database it is given.

SQLite always; also the PostgreSQL database that SUBNET_TEST_DATABASE_URL names (it is emptied).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from models.errors import Conflict, InputError, NotFound
from service.database import migrate, open_database
from service.jobs import sha256_of
from service.paging import SearchFilter
from service.records import NewSearch
from service.store import SearchStore, StoreUnavailable
from service.tables import Base

POSTGRES = os.environ.get("SUBNET_TEST_DATABASE_URL", "")
START = datetime(2025, 1, 1, tzinfo=UTC)
RESULT = {"latency_ms": 1.5, "top1": 90.0}
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


@pytest.fixture(params=["sqlite", *(["postgresql"] if POSTGRES else [])])
def store(request, tmp_path, clock):
    engine = open_database(
        POSTGRES if request.param == "postgresql" else f"sqlite:///{tmp_path / 'test.sqlite'}"
    )
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    migrate(engine)
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


def succeed(store, seed, latency_ms, top1, **names):
    search = store.submit(new(seed, **names))
    assert store.claim_next("w", 60).id == search.id
    result = {"latency_ms": latency_ms, "top1": top1}
    assert store.succeed(search.id, "w", result, "a" * 64)
    return search.id


# -- asking --------------------------------------------------------------------------------


def test_a_submitted_search_waits_with_its_profile(store, clock):
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
def test_asking_again_queues_what_was_cancelled_or_failed(store, end):
    search = store.submit(new())
    if end == "cancel":
        store.cancel(search.id)
    else:
        store.claim_next("w", 60)
        store.fail(search.id, "w", PROBLEM)
    again = store.submit(new())
    assert (again.id, again.status) == (search.id, "queued")
    assert (again.error, again.finished_at, again.attempts) == (None, None, 0)


def test_asking_again_leaves_what_succeeded(store):
    search_id = succeed(store, 0, 1.0, 90.0)
    assert store.submit(new(0)).status == "succeeded"
    assert store.get(search_id).result == {"latency_ms": 1.0, "top1": 90.0}


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


def test_the_oldest_is_claimed_first_and_only_once(store, clock):
    ids = []
    for seed in range(3):
        ids.append(store.submit(new(seed)).id)
        clock.advance(1)
    assert [store.claim_next("w", 60).id for _ in ids] == ids
    assert store.claim_next("w", 60) is None


def test_workers_never_share_a_search(store):
    for seed in range(12):
        store.submit(new(seed))

    def claim_all(owner):
        claimed = []
        while (search := store.claim_next(owner, 60)) is not None:
            claimed.append(search.id)
        return claimed

    with ThreadPoolExecutor(4) as pool:
        claims = [i for ids in pool.map(claim_all, "abcd") for i in ids]
    # A worker may see none while another's claim is under way; nothing is claimed twice.
    claims += claim_all("e")
    assert len(claims) == len(set(claims)) == 12


def test_a_silent_owner_loses_its_search(store, clock):
    search = store.submit(new())
    store.claim_next("first", 30)
    clock.advance(29)
    assert store.claim_next("second", 30) is None
    assert store.renew(search.id, "first", 30)
    clock.advance(29)
    assert store.claim_next("second", 30) is None
    clock.advance(2)
    assert store.claim_next("second", 30).attempts == 2
    assert not store.renew(search.id, "first", 30)
    assert not store.succeed(search.id, "first", RESULT, "a" * 64)
    assert not store.fail(search.id, "first", PROBLEM)
    assert store.succeed(search.id, "second", RESULT, "b" * 64)
    assert store.get(search.id).artifact_sha256 == "b" * 64


def test_a_cancelled_search_drops_its_result(store):
    search = store.submit(new())
    store.claim_next("w", 60)
    assert store.cancel(search.id).status == "cancelled"
    assert store.cancel(search.id).status == "cancelled"
    assert not store.renew(search.id, "w", 60)
    assert not store.succeed(search.id, "w", RESULT, "a" * 64)
    assert store.get(search.id).result is None


def test_what_is_finished_cannot_be_cancelled(store):
    search_id = succeed(store, 0, 1.0, 90.0)
    with pytest.raises(Conflict, match="has succeeded"):
        store.cancel(search_id)


def test_events_tell_the_story_and_can_be_resumed(store):
    search = store.submit(new())
    store.claim_next("w", 60)
    store.renew(search.id, "w", 60, {"step": "search", "share": 0.5})
    store.renew(search.id, "w", 60)
    store.fail(search.id, "w", PROBLEM)
    events = store.events(search.id)
    assert [e.kind for e in events] == ["queued", "running", "progress", "failed"]
    assert events[2].data == {"step": "search", "share": 0.5}
    assert events[3].data == PROBLEM
    assert store.events(search.id, after=events[1].id) == events[2:]


@pytest.mark.parametrize(("forgive", "attempts"), [(True, 0), (False, 1)])
def test_requeue_puts_back_what_one_owner_holds(store, forgive, attempts):
    first, second = store.submit(new(1)), store.submit(new(2))
    store.claim_next("dead", 60)
    store.claim_next("alive", 60)
    assert sorted(store.owners()) == ["alive", "dead"]
    assert store.requeue("dead", forgive=forgive) == 1
    statuses = {store.get(s.id).status for s in (first, second)}
    assert statuses == {"queued", "running"}
    assert store.claim_next("w", 60).attempts == attempts + 1


def test_the_database_refuses_impossible_rows(store):
    search = store.submit(new())
    for change in (
        "status = 'lost'",
        "status = 'running'",
        "status = 'succeeded'",
        "status = 'failed'",
        "owner = 'w'",
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
    ],
)
def test_filters(filled, wanted, count):
    items, _ = walk(filled, **wanted)
    assert len(items) == count


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

"""The store's pages and filters, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from datetime import timedelta, timezone

import pytest

from models.errors import InputError
from service.storage.paging import SearchFilter, page_queries
from tests.service.stored import START, new, succeed

FOUND = [(2.0, 91.0), (1.0, 90.0), (1.0, 89.0), (3.0, 93.0)]
"""(latency_ms, top1) of finished searches, oldest first; a queued one comes after them."""

WINDOW = {"created_after", "created_before"}
"""Filters by time, here in seconds since the first was asked; each came a second after another."""


@pytest.fixture
def store(stored):
    return stored


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


@pytest.mark.parametrize(
    "sort", ["created_at", "-created_at", "latency_ms", "-latency_ms", "top1", "-top1"]
)
def test_pages_are_the_sorted_whole(filled, sort):
    for limit in (1, 2, 3, 200):
        items, pages = walk(filled, sort=sort, limit=limit)
        assert [i.id for i in items] == [i.id for i in dumb(filled, sort)], limit
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


@pytest.mark.slow
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

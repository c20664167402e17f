"""Requests that wait: each hears of every change of its search, and they cost next to nothing."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import pytest
from sqlalchemy import event, make_url, text

import service.http.watch
from service.contracts import Event as StoredEvent
from service.contracts import StoreUnavailable
from service.http.watch import SearchWatch
from service.storage.changes import WriteAheadLog, latest_events, signal
from service.storage.database import open_database
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from tests.processes import PATIENCE_S
from tests.service.stored import new

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(engine):
    return SearchStore(engine)


@pytest.fixture
def watch(engine, store):
    stop = Event()
    watch = SearchWatch(engine, store, stop)
    yield watch
    stop.set()
    if watch._thread:
        watch._thread.join(PATIENCE_S)
        assert not watch._thread.is_alive()


@pytest.fixture
def elsewhere(database_url):
    """Another process, as far as the database can tell."""
    engine = open_database(database_url)
    yield RunStore(engine)
    engine.dispose()


def in_thread(work):
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


async def kinds_until(watcher, last):
    """Every event from now to one of a kind."""
    found: list[StoredEvent] = []
    while not found or found[-1].kind != last:
        async with asyncio.timeout(PATIENCE_S):
            _, events = await watcher.read()
            found += events
            if not events:
                await watcher.changed()
    return found


async def woken(watcher):
    async with asyncio.timeout(PATIENCE_S):
        await watcher.changed()
    _, events = await watcher.read()
    assert [event.kind for event in events] == ["running"]


@pytest.mark.slow
async def test_every_watcher_reads_every_event_once_and_in_order(watch, store, elsewhere):
    searches = [store.submit(new(n)) for n in range(3)]

    def work():
        for search in searches:
            elsewhere.start(search.id, 1, "w")
        for n in range(20):
            for search in searches:
                assert elsewhere.report(search, "w", {"n": n})
        for search in searches:
            assert elsewhere.fail(search, "w", {"detail": "an end"})

    async def follow(search):
        with watch.watching(search.id) as watcher:
            return await kinds_until(watcher, "failed")

    following = [asyncio.create_task(follow(search)) for search in searches for _ in range(20)]
    await asyncio.sleep(0)
    thread = in_thread(work)
    for events in await asyncio.gather(*following):
        progress = [event.data["n"] for event in events if event.kind == "progress"]
        assert progress == list(range(20))
        assert [e.kind for e in events if e.kind != "progress"] == ["queued", "running", "failed"]
        assert [event.id for event in events] == sorted(event.id for event in events)
    thread.join(PATIENCE_S)
    assert watch._watchers == {}
    assert watch._reads == {}


async def test_two_hundred_that_hear_of_one_event_read_it_together(watch, store, elsewhere, engine):
    search = store.submit(new())
    with ExitStack() as stack:
        first = stack.enter_context(watch.watching(search.id))
        await first.read()
        others = [watch.watching(search.id, first.seen) for _ in range(199)]
        watchers = [first, *map(stack.enter_context, others)]
        queries = []
        event.listen(engine, "before_cursor_execute", lambda *a: queries.append(a[2]))
        assert elsewhere.start(search.id, 1, "w")
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(watcher.changed() for watcher in watchers))
        readings = await asyncio.gather(*(watcher.read() for watcher in watchers))
        assert {events[0].kind for _, events in readings} == {"running"}
        read = [query for query in queries if "max(" not in query]
        assert len(read) == 2, "the search and its events"


async def test_a_change_whose_signal_is_missed_is_found_by_the_next_check(
    watch, store, elsewhere, monkeypatch
):
    class Deaf:
        def wait(self, timeout_s):
            return Event().wait(timeout_s)

    @contextmanager
    def deaf(engine):
        yield Deaf()

    monkeypatch.setattr(service.http.watch, "signal", deaf)
    monkeypatch.setattr(service.http.watch, "CHECK_EVERY_S", 0.05)
    search = store.submit(new())
    with watch.watching(search.id) as watcher:
        await watcher.read()
        elsewhere.start(search.id, 1, "w")
        await woken(watcher)


async def test_watching_goes_on_after_an_outage(watch, store, elsewhere, monkeypatch):
    failures = iter([StoreUnavailable("gone"), RuntimeError("a bug"), None])
    real = latest_events

    def sometimes(*args):
        if (error := next(failures, None)) is not None:
            raise error
        return real(*args)

    monkeypatch.setattr(service.http.watch, "latest_events", sometimes)
    monkeypatch.setattr(service.http.watch, "OUTAGE_PAUSE_S", 0.01)
    search = store.submit(new())
    with watch.watching(search.id) as watcher:
        await watcher.read()
        elsewhere.start(search.id, 1, "w")
        await woken(watcher)


async def test_where_nothing_can_be_listened_to_changes_are_looked_for(
    watch, store, elsewhere, monkeypatch
):
    def refused(engine):
        raise StoreUnavailable("no connection is left for listening")

    monkeypatch.setattr(service.http.watch, "signal", refused)
    monkeypatch.setattr(service.http.watch, "OUTAGE_PAUSE_S", 0.05)
    search = store.submit(new())
    with watch.watching(search.id) as watcher:
        await watcher.read()
        elsewhere.start(search.id, 1, "w")
        await woken(watcher)


async def test_who_waits_when_the_service_stops_is_told(watch, store):
    search = store.submit(new())
    with watch.watching(search.id) as watcher:
        await watcher.read()
        watch._stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await watcher.changed()


async def test_waiting_ends_with_its_time(watch, store):
    search = store.submit(new())
    with watch.watching(search.id) as watcher:
        await watcher.read()
        async with asyncio.timeout(PATIENCE_S):
            await watcher.changed(0.01)


def test_a_commit_of_another_process_is_signalled(engine, store, elsewhere):
    search = store.submit(new())
    with signal(engine) as changes:
        while changes.wait(0.2):
            pass  # what came before
        elsewhere.start(search.id, 1, "w")
        assert changes.wait(PATIENCE_S)
    assert set(latest_events(engine, [search.id, "unknown"])) == {search.id}


def test_two_commits_within_one_tick_of_the_clock_are_two_changes(tmp_path):
    log = tmp_path / "db-wal"
    changes = WriteAheadLog(log)
    assert not changes.wait(0.05)
    log.write_bytes(b"first")
    assert changes.wait(PATIENCE_S)
    # The second has the same date and size: nothing shows it.
    assert changes.wait(PATIENCE_S)
    assert not changes.wait(0.1)
    log.unlink()
    assert changes.wait(PATIENCE_S)


@pytest.mark.postgres
def test_a_url_may_state_options_of_the_connection(migrated_postgres):
    url = make_url(migrated_postgres)
    options = {"connect_timeout": "2", "application_name": "a search"}
    engine = open_database(url.update_query_dict(options).render_as_string(hide_password=False))
    with signal(engine) as changes:
        assert not changes.wait(0.01)
    engine.dispose()


@pytest.mark.postgres
def test_a_connection_that_is_lost_is_an_outage(migrated_postgres):
    engine = open_database(migrated_postgres)
    listeners = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )

    def lose():
        with signal(engine) as changes:
            with engine.begin() as other:
                assert other.execute(text(listeners)).all()
            changes.wait(PATIENCE_S)

    with pytest.raises(StoreUnavailable, match="the database does not answer"):
        lose()
    engine.dispose()

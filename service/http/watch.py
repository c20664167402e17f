"""Requests that wait for searches: woken when their search changes, not asking again and again.

One thread for all of them waits for changes (`service.storage.changes`). After each, and at least
once in `CHECK_EVERY_S`, it asks one query which of the watched searches have events that their
watchers have not seen, and wakes those. So a change is never missed: if its signal is, or if there
can be no signals, the next check finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine

from service.contracts import Event as SearchEvent
from service.contracts import Search, StoreUnavailable
from service.storage import SearchStore, latest_events, signal

CHECK_EVERY_S = 1.0
LINGER_S = 10.0
"""How long the thread goes on when nobody watches: a connection is not made for every request."""
STOP_EVERY_S = 0.2
OUTAGE_PAUSE_S = 0.5

Reading = tuple[Search, list[SearchEvent]]
log = structlog.get_logger(__name__)


class Watcher:
    """One request that watches one search."""

    def __init__(self, watch: SearchWatch, search_id: str, seen: int) -> None:
        self.search_id, self.seen = search_id, seen
        self._watch, self._changed = watch, asyncio.Event()

    async def read(self) -> Reading:
        """The search as it is now, and its events that this watcher has not read yet.

        Raises:
            NotFound: if there is no such search.
            StoreUnavailable: if the database does not answer.
        """
        self._changed.clear()
        search, events = await self._watch.read(self.search_id, self.seen)
        if events:
            self.seen = events[-1].id
        return search, events

    async def changed(self, timeout_s: float | None = None) -> None:
        """Wait until there is more to read, the service stops, or the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    def wake(self) -> None:
        """Have `changed` return."""
        self._changed.set()


class SearchWatch:
    """What all watchers of one process share. Used from one event loop."""

    def __init__(self, engine: Engine, store: SearchStore, stop: Event) -> None:
        """
        Args:
            stop: set when the service stops.
        """
        self._engine, self._store, self._stop = engine, store, stop
        self._watchers: dict[str, set[Watcher]] = {}
        self._reads: dict[tuple[str, int], asyncio.Task[Reading]] = {}
        self._wanted = Event()
        self._thread: Thread | None = None

    @contextmanager
    def watching(self, search_id: str, seen: int = 0) -> Iterator[Watcher]:
        """A watcher of a search.

        Args:
            seen: id of the last event that it has read.
        """
        self._start(asyncio.get_running_loop())
        watcher = Watcher(self, search_id, seen)
        self._watchers.setdefault(search_id, set()).add(watcher)
        self._wanted.set()
        try:
            yield watcher
        finally:
            others = self._watchers[search_id]
            others.remove(watcher)
            if not others:
                del self._watchers[search_id]

    async def last_seen(self, search_id: str, claimed: int) -> int:
        """Id of the last event that a client has read, who claims to have read up to `claimed`.

        An event that does not exist yet was not read, and who had read it would not be woken.
        """
        latest = await run_in_threadpool(latest_events, self._engine, [search_id])
        return min(claimed, latest.get(search_id, 0))

    async def read(self, search_id: str, seen: int) -> Reading:
        """As `Watcher.read`; those who read the same at the same time share one reading."""
        key = search_id, seen
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(run_in_threadpool(self._read, *key))
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _read(self, search_id: str, seen: int) -> Reading:
        # Read before the events: a search and its last event are written in one transaction.
        search = self._store.get(search_id)
        return search, self._store.events(search_id, seen)

    def _forget(self, key: tuple[str, int], done: asyncio.Task[Reading]) -> None:
        if self._reads.get(key) is done:
            del self._reads[key]
        if not done.cancelled():
            done.exception()  # is raised where it is awaited, if it still is

    # -- the thread ----------------------------------------------------------------------

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, args=(loop,), name="watch", daemon=True)
            self._thread.start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            if not self._watchers and not self._wanted.wait(STOP_EVERY_S):
                continue
            try:
                self._look(loop)  # before listening, which may fail although queries do not
                self._follow(loop)
            except StoreUnavailable as error:
                log.error("store_unavailable", error=str(error))
                self._stop.wait(OUTAGE_PAUSE_S)
            except Exception:
                log.exception("watch_failed")
                self._stop.wait(OUTAGE_PAUSE_S)
        self._tell(loop, None)

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake watchers until there have been none for a while."""
        watched_at = time.monotonic()
        with signal(self._engine) as changes:
            while not self._stop.is_set():
                if self._look(loop):
                    watched_at = time.monotonic()
                elif time.monotonic() > watched_at + LINGER_S:
                    return
                due = time.monotonic() + CHECK_EVERY_S
                while time.monotonic() < due and not self._stop.is_set():
                    if changes.wait(min(STOP_EVERY_S, CHECK_EVERY_S)):
                        break

    def _look(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wake those whose search has changed; false if nobody watches."""
        self._wanted.clear()  # before looking, so that one who comes now is not missed
        searches = list(self._watchers)
        if searches:
            self._tell(loop, latest_events(self._engine, searches))
        return bool(searches)

    def _tell(self, loop: asyncio.AbstractEventLoop, latest: Mapping[str, int] | None) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(self._wake, latest)

    def _wake(self, latest: Mapping[str, int] | None) -> None:
        for search_id, watchers in self._watchers.items():
            for watcher in watchers:
                if latest is None or latest.get(search_id, 0) > watcher.seen:
                    # What began to be read before now may be what was there before.
                    self._reads.pop((search_id, watcher.seen), None)
                    watcher.wake()

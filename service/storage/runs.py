"""Runs of searches: the queries of workers.

A run belongs to the worker that started it last. Only that worker can report progress and store a
result: if another took it over, calls return false and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Update, case, func, select, update

from service.contracts import Search
from service.storage import counters
from service.storage.searches import Ended, Enqueue, changed, read_search, record, row_of
from service.storage.sessions import unit_of_work, utc_now
from service.storage.tables import SearchRow


class RunStore:
    """Runs in a database whose schema is current; as safe to share as `SearchStore`."""

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], datetime] = utc_now,
        *,
        enqueue: Enqueue = lambda session, search: None,
        ended: Ended = lambda session, search: None,
    ) -> None:
        self._engine, self._now, self._enqueue, self._ended = engine, now, enqueue, ended

    def start(self, search_id: str, run: int, worker: str) -> Search | None:
        """Give a run to `worker`, whichever had it before; None if it was cancelled or replaced."""
        begin = (
            update(SearchRow)
            .where(
                SearchRow.id == search_id,
                SearchRow.run == run,
                SearchRow.status.in_(("queued", "running")),
            )
            .values(
                status="running",
                worker=worker,
                attempts=SearchRow.attempts + 1,
                started_at=func.coalesce(SearchRow.started_at, self._now()),
            )
        )
        with unit_of_work(self._engine) as session:
            if not changed(session, begin):
                return None
            record(session, search_id, "running", {}, self._now())
            return read_search(row_of(session, search_id))

    def report(self, search: Search, worker: str, progress: Mapping[str, Any]) -> bool:
        """Store progress; false, and nothing stored, if `worker` no longer has the run."""
        with unit_of_work(self._engine) as session:
            held = changed(session, _held(search, worker).values(worker=worker))
            if held:
                record(session, search.id, "progress", progress, self._now())
            return held

    def succeed(self, search: Search, worker: str, result: Mapping[str, Any]) -> bool:
        """Store the result; false, and nothing stored, if `worker` no longer has the run."""
        values = {
            "result": dict(result),
            "latency_ms": result["latency_ms"],
            "top1": result["top1"],
            "artifact_sha256": result["sha256"],
        }
        return self._finish(search, worker, "succeeded", values, {})

    def fail(self, search: Search, worker: str, error: Mapping[str, Any]) -> bool:
        """Store a problem; false, and nothing stored, if `worker` no longer has the run."""
        return self._finish(search, worker, "failed", {"error": dict(error)}, error)

    def _finish(
        self,
        search: Search,
        worker: str,
        status: str,
        values: Mapping[str, Any],
        data: Mapping[str, Any],
    ) -> bool:
        now = self._now()
        done = _held(search, worker).values(status=status, worker=None, finished_at=now, **values)
        with unit_of_work(self._engine) as session:
            finished = changed(session, done)
            if finished:
                seconds = (now - (search.started_at or now)).total_seconds()
                counters.add(session, counters.of_ended(status, seconds))
                record(session, search.id, status, data, self._now())
                self._ended(session, read_search(row_of(session, search.id)))
            return finished

    def release(self, worker: str, *, count_attempt: bool) -> int:
        """Put all runs of `worker` back into the queue; returns their number.

        Args:
            count_attempt: whether each counts as an attempt; not if the worker was stopped.
        """
        attempts = SearchRow.attempts
        uncounted = case((attempts > 0, attempts - 1), else_=0)
        back = (
            update(SearchRow)
            .where(SearchRow.worker == worker)
            .values(
                status="queued",
                worker=None,
                attempts=attempts if count_attempt else uncounted,
            )
            .returning(SearchRow.id)
            .execution_options(synchronize_session=False)
        )
        with unit_of_work(self._engine) as session:
            released = session.scalars(back).all()
            for search_id in released:
                record(session, search_id, "queued", {}, self._now())
            return len(released)

    def unfinished(self, limit: int) -> list[Search]:
        """Searches that wait or run, oldest first."""
        query = (
            select(SearchRow)
            .where(SearchRow.status.in_(("queued", "running")))
            .order_by(SearchRow.created_at)
            .limit(limit)
        )
        with unit_of_work(self._engine) as session:
            return [read_search(row) for row in session.scalars(query)]

    def rerun(self, search: Search) -> bool:
        """Replace a run that nothing works on by a new one; false if it changed meanwhile."""
        anew = (
            update(SearchRow)
            .where(
                SearchRow.id == search.id,
                SearchRow.run == search.run,
                SearchRow.status.in_(("queued", "running")),
            )
            .values(
                status="queued",
                worker=None,
                run=SearchRow.run + 1,
                attempts=SearchRow.attempts + 1,
            )
        )
        with unit_of_work(self._engine) as session:
            if not changed(session, anew):
                return False
            record(session, search.id, "queued", {}, self._now())
            self._enqueue(session, read_search(row_of(session, search.id)))
            return True


def _held(search: Search, worker: str) -> Update:
    return update(SearchRow).where(
        SearchRow.id == search.id,
        SearchRow.run == search.run,
        SearchRow.worker == worker,
        SearchRow.status == "running",
    )

"""Searches as the API submits and reads them. Each public method is one transaction.

`SearchStore` is safe to share between threads, and any number of processes may use one database. It
returns immutable values and raises `NotFound` for unknown ids.

States: queued -> running -> succeeded | failed | cancelled. Submitting a failed or cancelled search
again starts another run of it. `service.storage.runs` has the workers' queries.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, Select, Update, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.errors import Conflict, InputError, NotFound
from service.contracts import (
    Event,
    NewSearch,
    QueueFull,
    Search,
    SearchState,
    Worked,
)
from service.storage.changes import notify
from service.storage.paging import Page, SearchFilter, page_queries, read_page
from service.storage.sessions import read_connection, unit_of_work, utc_now
from service.storage.tables import EventRow, IdempotencyRow, ProfileRow, SearchRow

# Built once, because building such a statement takes longer than running it.
_ONE = select(*SearchRow.__table__.columns).where(SearchRow.id == bindparam("id"))
_STATE = _ONE.with_only_columns(*(getattr(SearchRow, field.name) for field in fields(SearchState)))

Enqueue = Callable[[Session, Search], None]
"""Enqueues the run of a search, in the transaction that stores it."""
Ended = Callable[[Session, Search], None]
"""Called with a search that ended, in the transaction that ends it."""
Also = Callable[[Session, Search, bool], None]
"""(session, search, repeated): what else a request does to the search that answers it, in the same
transaction; `repeated`, if its Idempotency-Key shows that an earlier one did so already."""


def nothing(session: Session, search: Search, repeated: bool) -> None:
    """Nothing else."""


class SearchStore:
    """Searches in a database whose schema is current."""

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], datetime] = utc_now,
        *,
        enqueue: Enqueue = lambda session, search: None,
        ended: Ended = lambda session, search: None,
        max_queued: int | None = None,
    ) -> None:
        """
        Args:
            max_queued: searches that may wait; simultaneous requests may exceed it by their
                number.
        """
        self._engine, self._now = engine, now
        self._enqueue, self._ended, self._max_queued = enqueue, ended, max_queued

    def session_scope(self) -> AbstractContextManager[Session]:
        """One unit of work, as `unit_of_work` has it."""
        return unit_of_work(self._engine)

    # -- asking --------------------------------------------------------------------------

    def submit(
        self, new: NewSearch, key: tuple[str, str] | None = None, also: Also = nothing
    ) -> Search:
        """The stored search of this request, queued if it is new, failed or cancelled.

        Args:
            key: the client's Idempotency-Key and the hash of its request.
            also: what is done with it or not at all.

        Raises:
            QueueFull: if too many searches wait.
            InputError: if the key was used with another request.
        """
        # Another process may store profile, search or key meanwhile; a retry finds them.
        for _ in range(3):
            with suppress(IntegrityError):
                return self._submit(new, key, also)
        return self._submit(new, key, also)

    def _submit(self, new: NewSearch, key: tuple[str, str] | None, also: Also) -> Search:
        with self.session_scope() as session:
            if key is not None and (stored := _of_key(session, *key)) is not None:
                also(session, stored, True)
                return stored
            if session.get(ProfileRow, new.profile_sha256) is None:
                session.add(ProfileRow(sha256=new.profile_sha256, content=new.profile))
                session.flush()
            row = session.scalar(
                select(SearchRow).where(SearchRow.request_sha256 == new.request_sha256)
            )
            if row is None:
                row = self._insert(session, new)
            elif row.status in ("failed", "cancelled"):
                self._requeue_finished(session, row)
            if key is not None:
                session.add(
                    IdempotencyRow(
                        key=key[0], body_sha256=key[1], search_id=row.id, created_at=self._now()
                    )
                )
            session.flush()
            search = read_search(row)
            also(session, search, False)
            return search

    def _check_room(self, session: Session) -> None:
        if self._max_queued is None:
            return
        waiting = select(SearchRow.id).where(SearchRow.status == "queued").limit(self._max_queued)
        if len(session.scalars(waiting).all()) >= self._max_queued:
            raise QueueFull(f"{self._max_queued} searches wait already: try again later")

    def _insert(self, session: Session, new: NewSearch) -> SearchRow:
        self._check_room(session)
        row = SearchRow(
            id=uuid.uuid4().hex,
            request_sha256=new.request_sha256,
            request=dict(new.request),
            supernet=new.supernet,
            device=new.device,
            profile_sha256=new.profile_sha256,
            status="queued",
            run=1,
            attempts=0,
            created_at=self._now(),
        )
        session.add(row)
        session.flush()
        record(session, row.id, "queued", {}, self._now())
        self._enqueue(session, read_search(row))
        return row

    def _requeue_finished(self, session: Session, row: SearchRow) -> None:
        self._check_room(session)
        again = (
            update(SearchRow)
            .where(SearchRow.id == row.id, SearchRow.status.in_(("failed", "cancelled")))
            .values(
                status="queued",
                run=SearchRow.run + 1,
                attempts=0,
                error=None,
                started_at=None,
                finished_at=None,
            )
        )
        requeued = changed(session, again)
        session.refresh(row)
        if requeued:
            record(session, row.id, "queued", {}, self._now())
            self._enqueue(session, read_search(row))

    def find_by_request(self, request_sha256: str, also: Also = nothing) -> Search | None:
        """The stored search of a request, unless it failed or was cancelled.

        Args:
            also: what is done if it is found.
        """
        with self.session_scope() as session:
            row = session.scalar(
                select(SearchRow).where(
                    SearchRow.request_sha256 == request_sha256,
                    SearchRow.status.not_in(("failed", "cancelled")),
                )
            )
            if row is None:
                return None
            search = read_search(row)
            also(session, search, False)
            return search

    def find_by_key(self, key: str, body_sha256: str, also: Also = nothing) -> Search | None:
        """The search of an Idempotency-Key.

        Args:
            also: what is done if it is found.

        Raises:
            InputError: if the key was used with another request.
        """
        with self.session_scope() as session:
            search = _of_key(session, key, body_sha256)
            if search is not None:
                also(session, search, True)
            return search

    def cancel(self, search_id: str) -> Search:
        """Cancel a search that is not finished; cancelling twice is cancelling once.

        Raises:
            NotFound: if there is no such search.
            Conflict: if it has succeeded or failed.
        """
        stop = (
            update(SearchRow)
            .where(SearchRow.id == search_id, SearchRow.status.in_(("queued", "running")))
            .values(status="cancelled", worker=None, finished_at=self._now())
        )
        with self.session_scope() as session:
            cancelled = changed(session, stop)
            row = row_of(session, search_id)
            if cancelled:
                record(session, search_id, "cancelled", {}, self._now())
                self._ended(session, read_search(row))
            if row.status != "cancelled":
                raise Conflict(f"search {search_id} has {row.status} and cannot be cancelled")
            return read_search(row)

    def note_try(self, search_id: str, found: Mapping[str, Any]) -> None:
        """Keep what a device found of a finished search's model, as `verified.on_device`. The model
        stays as it is.

        Raises:
            NotFound: if there is no such search.
            Conflict: if it has no model any more.
        """
        with self.session_scope() as session:
            held = update(SearchRow).where(SearchRow.id == search_id, SearchRow.result.is_not(None))
            if not changed(session, held.values(tries=SearchRow.tries + 1)):
                row_of(session, search_id)
                raise Conflict(f"search {search_id} has no model any more: it runs again")
            row = row_of(session, search_id)
            assert row.result is not None
            verified = {**row.result["verified"], "on_device": dict(found)}
            row.result = {**row.result, "verified": verified}
            record(session, search_id, "tried", {"passed": found["passed"]}, self._now())

    # -- reading -------------------------------------------------------------------------

    def get(self, search_id: str) -> Search:
        """One search.

        Raises:
            NotFound: if there is no such search.
        """
        return read_search(self._one(_ONE, search_id))

    def state(self, search_id: str) -> SearchState:
        """The mutable part of one search.

        Raises:
            NotFound: if there is no such search.
        """
        return SearchState(*self._one(_STATE, search_id))

    def _one(self, query: Select[Any], search_id: str) -> Any:
        with read_connection(self._engine) as connection:
            row = connection.execute(query, {"id": search_id}).one_or_none()
        if row is None:
            raise unknown(search_id)
        return row

    def profile(self, sha256: str) -> str:
        """Text of the latency table that a search uses."""
        with self.session_scope() as session:
            return session.get_one(ProfileRow, sha256).content

    def artifacts(self) -> set[str]:
        """The sha256 of every model that a search refers to."""
        query = select(SearchRow.artifact_sha256).where(SearchRow.artifact_sha256.is_not(None))
        with self.session_scope() as session:
            return {sha256 for sha256 in session.scalars(query) if sha256 is not None}

    def page(self, wanted: SearchFilter, cursor: str | None = None) -> Page[Search]:
        """One page of searches.

        Raises:
            InputError: if the cursor is not one of this sort order.
        """
        with self.session_scope() as session:
            rows: list[SearchRow] = []
            for query in page_queries(wanted, cursor):
                rows += session.scalars(query)
                if len(rows) > wanted.limit:
                    break
            return read_page(rows, wanted, read_search)

    def events(self, search_id: str, after: int = 0) -> list[Event]:
        """Events of a search after the one with id `after`, in order."""
        query = (
            select(EventRow)
            .where(EventRow.search_id == search_id, EventRow.id > after)
            .order_by(EventRow.id)
        )
        with self.session_scope() as session:
            return [Event(row.id, row.kind, row.data) for row in session.scalars(query)]

    def worked(self, supernet: str) -> Worked:
        """How many searches of a supernet succeeded, and their time from start to end."""
        query = select(SearchRow.started_at, SearchRow.finished_at).where(
            SearchRow.supernet == supernet, SearchRow.status == "succeeded"
        )
        with self.session_scope() as session:
            seconds = [
                (end - start).total_seconds()
                for start, end in session.execute(query)
                if start and end
            ]
        return Worked(len(seconds), sum(seconds))

    def unfinished(self, supernet: str) -> int:
        """How many searches of a supernet wait or run."""
        query = select(func.count()).where(
            SearchRow.supernet == supernet, SearchRow.status.in_(("queued", "running"))
        )
        with self.session_scope() as session:
            return session.scalar(query) or 0

    def counts(self) -> dict[str, int]:
        """Number of searches by status, without those that have none."""
        query = select(SearchRow.status, func.count()).group_by(SearchRow.status)
        with self.session_scope() as session:
            return {status: count for status, count in session.execute(query)}


def _of_key(session: Session, key: str, body_sha256: str) -> Search | None:
    row = session.get(IdempotencyRow, key)
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise InputError(
            f"Idempotency-Key {key!r} was used for another request: "
            "take a new key for a new request"
        )
    return read_search(session.get_one(SearchRow, row.search_id))


def read_search(row: SearchRow | Row[Any]) -> Search:
    """The value of a row, or of a row's columns."""
    return Search(
        id=row.id,
        request=row.request,
        profile_sha256=row.profile_sha256,
        status=row.status,
        run=row.run,
        attempts=row.attempts,
        result=row.result,
        artifact_sha256=row.artifact_sha256,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def record(
    session: Session, search_id: str, kind: str, data: Mapping[str, Any], now: datetime
) -> None:
    """Add an event of a search, of which waiting processes are notified."""
    session.add(EventRow(search_id=search_id, kind=kind, data=dict(data), created_at=now))
    notify(session, search_id)


def changed(session: Session, statement: Update) -> bool:
    """Execute an update; returns whether it matched a row."""
    changed = statement.returning(SearchRow.id).execution_options(synchronize_session=False)
    return session.scalar(changed) is not None


def row_of(session: Session, search_id: str) -> SearchRow:
    """The row of a search as it is in the database.

    Raises:
        NotFound: if there is none.
    """
    row = session.get(SearchRow, search_id, populate_existing=True)
    if row is None:
        raise unknown(search_id)
    return row


def unknown(search_id: str) -> NotFound:
    """The error of a search that does not exist, or that the caller may not see."""
    return NotFound(f"unknown search {search_id[:40]!r}: GET /v1/searches lists them")

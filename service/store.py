"""Every query. Each public method is one unit of work with one commit.

`SearchStore` is safe to share between threads, and any number of processes may use one database.
What it returns are values that do not change; what it cannot find is `NotFound`.

States: queued -> running -> succeeded | failed | cancelled. A search runs under a lease of one
owner, and only its owner can renew it, report on it and finish it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Update, and_, case, func, or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from models.errors import Conflict, InputError, NotFound, SubnetSearchError
from service.paging import Page, SearchFilter, page_query, read_page
from service.records import Event, NewSearch, Search, read_search
from service.tables import EventRow, IdempotencyRow, ProfileRow, SearchRow


class StoreUnavailable(SubnetSearchError):
    """The database does not answer, or stays locked."""


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """A session that is committed at the end and rolled back by an exception.

    Raises:
        StoreUnavailable: if the database does not answer.
    """
    try:
        with Session(engine) as session, session.begin():
            yield session
    except OperationalError as error:
        raise StoreUnavailable(f"the database does not answer: {error.orig}") from error


class SearchStore:
    """Searches in a database whose schema is current."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    def session_scope(self) -> AbstractContextManager[Session]:
        """One unit of work, as `unit_of_work` has it."""
        return unit_of_work(self._engine)

    # -- asking --------------------------------------------------------------------------

    def submit(self, new: NewSearch, key: tuple[str, str] | None = None) -> Search:
        """The stored search of this request, queued if it is new, failed or cancelled.

        Args:
            key: a client's own key and the hash of the body that it came with.
        """
        try:
            return self._submit(new, key)
        except IntegrityError:
            # Somebody stored the same request, profile or key meanwhile: now it is there.
            return self._submit(new, key)

    def _submit(self, new: NewSearch, key: tuple[str, str] | None) -> Search:
        with self.session_scope() as session:
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
            if key is not None and session.get(IdempotencyRow, key[0]) is None:
                session.add(
                    IdempotencyRow(
                        key=key[0], body_sha256=key[1], search_id=row.id, created_at=self._now()
                    )
                )
            session.flush()
            return read_search(row)

    def _insert(self, session: Session, new: NewSearch) -> SearchRow:
        row = SearchRow(
            id=uuid.uuid4().hex,
            request_sha256=new.request_sha256,
            request=dict(new.request),
            supernet=new.supernet,
            device=new.device,
            profile_sha256=new.profile_sha256,
            status="queued",
            attempts=0,
            created_at=self._now(),
        )
        session.add(row)
        session.flush()
        self._record(session, row.id, "queued", {})
        return row

    def _requeue_finished(self, session: Session, row: SearchRow) -> None:
        again = (
            update(SearchRow)
            .where(SearchRow.id == row.id, SearchRow.status.in_(("failed", "cancelled")))
            .values(status="queued", attempts=0, error=None, started_at=None, finished_at=None)
        )
        if _changed(session, again):
            self._record(session, row.id, "queued", {})
        session.refresh(row)

    def find_by_key(self, key: str, body_sha256: str) -> Search | None:
        """The search that a client's own key stands for.

        Raises:
            InputError: if the key came with another body before.
        """
        with self.session_scope() as session:
            row = session.get(IdempotencyRow, key)
            if row is None:
                return None
            if row.body_sha256 != body_sha256:
                raise InputError(
                    f"Idempotency-Key {key!r} was used for another request: "
                    "take a new key for a new request"
                )
            return read_search(session.get_one(SearchRow, row.search_id))

    def cancel(self, search_id: str) -> Search:
        """Cancel a search that is not finished; cancelling twice is cancelling once.

        Raises:
            NotFound: if there is no such search.
            Conflict: if it has succeeded or failed.
        """
        stop = (
            update(SearchRow)
            .where(SearchRow.id == search_id, SearchRow.status.in_(("queued", "running")))
            .values(status="cancelled", owner=None, lease_until=None, finished_at=self._now())
        )
        with self.session_scope() as session:
            if _changed(session, stop):
                self._record(session, search_id, "cancelled", {})
            row = _row(session, search_id)
            if row.status != "cancelled":
                raise Conflict(f"search {search_id} has {row.status} and cannot be cancelled")
            return read_search(row)

    # -- reading -------------------------------------------------------------------------

    def get(self, search_id: str) -> Search:
        """One search.

        Raises:
            NotFound: if there is no such search.
        """
        with self.session_scope() as session:
            return read_search(_row(session, search_id))

    def profile(self, sha256: str) -> str:
        """Text of the latency table that a search was asked with."""
        with self.session_scope() as session:
            return session.get_one(ProfileRow, sha256).content

    def page(self, wanted: SearchFilter, cursor: str | None = None) -> Page[Search]:
        """One page of searches.

        Raises:
            InputError: if the cursor is not one of this sort order.
        """
        with self.session_scope() as session:
            rows = list(session.scalars(page_query(wanted, cursor)))
            return read_page(rows, wanted, read_search)

    def events(self, search_id: str, after: int = 0) -> list[Event]:
        """What happened to a search since the event `after`, in order."""
        query = (
            select(EventRow)
            .where(EventRow.search_id == search_id, EventRow.id > after)
            .order_by(EventRow.id)
        )
        with self.session_scope() as session:
            return [Event(row.id, row.kind, row.data) for row in session.scalars(query)]

    def counts(self) -> dict[str, int]:
        """Number of searches by status, without those that have none."""
        query = select(SearchRow.status, func.count()).group_by(SearchRow.status)
        with self.session_scope() as session:
            return {status: count for status, count in session.execute(query)}

    # -- working -------------------------------------------------------------------------

    def claim_next(self, owner: str, lease_s: float) -> Search | None:
        """Give `owner` the oldest search that waits or whose owner fell silent, if any."""
        now = self._now()
        silent = and_(SearchRow.status == "running", SearchRow.lease_until < now)
        free = or_(SearchRow.status == "queued", silent)
        oldest = (
            select(SearchRow.id)
            .where(free)
            .order_by(SearchRow.created_at, SearchRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        claim = (
            update(SearchRow)
            # `free` again: without row locks (SQLite) the row may have changed since.
            .where(SearchRow.id == oldest.scalar_subquery(), free)
            .values(
                status="running",
                owner=owner,
                lease_until=now + timedelta(seconds=lease_s),
                attempts=SearchRow.attempts + 1,
                started_at=func.coalesce(SearchRow.started_at, now),
            )
            .returning(SearchRow.id)
            .execution_options(synchronize_session=False)
        )
        with self.session_scope() as session:
            # Looking first keeps idle workers from taking turns at SQLite's write lock.
            claimed = session.scalar(oldest) and session.scalar(claim)
            if claimed is None:
                return None
            self._record(session, claimed, "running", {})
            return read_search(_row(session, claimed))

    def renew(
        self, search_id: str, owner: str, lease_s: float, progress: Mapping[str, Any] | None = None
    ) -> bool:
        """Keep a search for another lease, with a report if given; false if it is lost."""
        longer = _held(search_id, owner).values(
            lease_until=self._now() + timedelta(seconds=lease_s)
        )
        with self.session_scope() as session:
            held = _changed(session, longer)
            if held and progress is not None:
                self._record(session, search_id, "progress", progress)
            return held

    def succeed(
        self, search_id: str, owner: str, result: Mapping[str, Any], artifact_sha256: str
    ) -> bool:
        """Store what came of a search; false, and nothing stored, if it is lost."""
        values = {
            "result": dict(result),
            "latency_ms": result["latency_ms"],
            "top1": result["top1"],
            "artifact_sha256": artifact_sha256,
        }
        return self._finish(search_id, owner, "succeeded", values, {})

    def fail(self, search_id: str, owner: str, error: Mapping[str, Any]) -> bool:
        """Store why a search failed; false, and nothing stored, if it is lost."""
        return self._finish(search_id, owner, "failed", {"error": dict(error)}, error)

    def _finish(
        self,
        search_id: str,
        owner: str,
        status: str,
        values: Mapping[str, Any],
        data: Mapping[str, Any],
    ) -> bool:
        done = _held(search_id, owner).values(
            status=status, owner=None, lease_until=None, finished_at=self._now(), **values
        )
        with self.session_scope() as session:
            finished = _changed(session, done)
            if finished:
                self._record(session, search_id, status, data)
            return finished

    def owners(self) -> list[str]:
        """Everybody who holds a search."""
        query = select(SearchRow.owner).where(SearchRow.owner.is_not(None)).distinct()
        with self.session_scope() as session:
            return [owner for owner in session.scalars(query) if owner]

    def requeue(self, owner: str, *, forgive: bool) -> int:
        """Put back all that `owner` holds; returns how many.

        Args:
            forgive: whether the attempt does not count, because the owner stopped in order.
        """
        back = (
            update(SearchRow)
            .where(SearchRow.owner == owner)
            .values(
                status="queued",
                owner=None,
                lease_until=None,
                attempts=case((SearchRow.attempts > 0, SearchRow.attempts - int(forgive)), else_=0),
            )
            .returning(SearchRow.id)
            .execution_options(synchronize_session=False)
        )
        with self.session_scope() as session:
            released = session.scalars(back).all()
            for search_id in released:
                self._record(session, search_id, "queued", {})
            return len(released)

    def _record(self, session: Session, search_id: str, kind: str, data: Mapping[str, Any]) -> None:
        session.add(
            EventRow(search_id=search_id, kind=kind, data=dict(data), created_at=self._now())
        )


def _held(search_id: str, owner: str) -> Update:
    return update(SearchRow).where(
        SearchRow.id == search_id, SearchRow.owner == owner, SearchRow.status == "running"
    )


def _changed(session: Session, statement: Update) -> bool:
    changed = statement.returning(SearchRow.id).execution_options(synchronize_session=False)
    return session.scalar(changed) is not None


def _row(session: Session, search_id: str) -> SearchRow:
    row = session.get(SearchRow, search_id, populate_existing=True)
    if row is None:
        raise NotFound(f"unknown search {search_id[:40]!r}: GET /v1/searches lists them")
    return row

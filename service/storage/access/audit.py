"""Who changed what, when: every query of the audit log.

An act is recorded before it happens and its outcome after it, so nothing is done unrecorded; an
entry without a status is of a process that ended in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select, update

from service.contracts import Caller
from service.storage.sessions import unit_of_work, utc_now
from service.storage.tables import AuditRow

MAX_PATH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One act."""

    id: int
    at: datetime
    owner: str | None
    """None: somebody at this machine, without a key."""
    key_id: str | None
    action: str
    """Method and path, or the command."""
    target: str | None
    """What was made, where that is not in the path."""
    status: int | None
    """HTTP status of the answer; None where the process ended before it."""
    request_id: str | None


class AuditLog:
    """The audit log of a database whose schema is current."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    def begin(self, caller: Caller, action: str, request_id: str | None = None) -> int:
        """Record that an act begins; returns its number."""
        row = AuditRow(
            at=self._now(),
            owner=caller.owner,
            key_id=caller.key_id,
            action=action[:MAX_PATH],
            request_id=request_id,
        )
        with unit_of_work(self._engine) as session:
            session.add(row)
            session.flush()
            return row.id

    def end(
        self,
        number: int,
        status: int,
        target: str | None = None,
        acts_for: Caller | None = None,
    ) -> None:
        """Record what came of an act.

        Args:
            acts_for: on whose behalf it was done, if that became known only meanwhile.
        """
        shown = None if target is None else target[:MAX_PATH]
        values: dict[str, Any] = {"status": status, "target": shown}
        if acts_for is not None:
            values |= {"owner": acts_for.owner, "key_id": acts_for.key_id}
        done = update(AuditRow).where(AuditRow.id == number).values(**values)
        with unit_of_work(self._engine) as session:
            session.execute(done)

    def entries(self, *, owner: str | None = None, limit: int = 100) -> list[Entry]:
        """The newest entries, of one owner or of all, the newest first."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(AuditRow.owner == owner)
        with unit_of_work(self._engine) as session:
            return [_read(row) for row in session.scalars(query)]


def _read(row: AuditRow) -> Entry:
    return Entry(
        id=row.id,
        at=row.at,
        owner=row.owner,
        key_id=row.key_id,
        action=row.action,
        target=row.target,
        status=row.status,
        request_id=row.request_id,
    )

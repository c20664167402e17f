"""Worker processes: one row each, whose heartbeat count rises while the process lives.

`service.jobs.recovery` decides from these rows which workers are dead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from models.errors import Conflict
from service.storage.sessions import unit_of_work, utc_now
from service.storage.tables import ExecutorRow


class ExecutorStore:
    """Executors (DBOS's word for a worker process) in a database whose schema is current."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    def heartbeat(self, executor: str, token: str = "", known: Collection[str] = ()) -> None:
        """Count one heartbeat; the row is created again if somebody removed it.

        Args:
            token: random, new for each heartbeat.
            known: every token that this process may have stored last.

        Raises:
            Conflict: if another process stored the last heartbeat: two have one name, as copies
                of a running machine do.
        """
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        row = {"id": executor, "beats": 1, "token": "", "started_at": self._now()}
        # One statement adds or holds the row, on either database: others may add or remove it at
        # any moment, and SQLite knows no FOR UPDATE.
        count = (
            dialect.insert(ExecutorRow)
            .values(row)
            .on_conflict_do_update(
                index_elements=[ExecutorRow.id], set_={"beats": ExecutorRow.beats + 1}
            )
            .returning(ExecutorRow.token)
        )
        with unit_of_work(self._engine) as session:
            stored = session.scalars(count).one()
            if stored and stored not in known:
                raise _taken(executor)
            session.execute(
                update(ExecutorRow).where(ExecutorRow.id == executor).values(token=token)
            )

    def heartbeats(self) -> dict[str, int]:
        """The heartbeat count of every executor that is not known to have ended."""
        with unit_of_work(self._engine) as session:
            return {row.id: row.beats for row in session.scalars(select(ExecutorRow))}

    def count(self) -> int:
        """Number of executors that are not known to have ended."""
        return len(self.heartbeats())

    def add_unknown(self, executor: str) -> None:
        """Add an executor that has no row, so that others notice if it has no heartbeat."""
        if executor not in self.heartbeats():
            with suppress(Conflict):  # it was added meanwhile
                self.heartbeat(executor)

    def claim(self, executor: str, heartbeats: int) -> bool:
        """Claim the right to reclaim a dead executor's runs; false if its heartbeat count is not
        `heartbeats`: it lives after all, or another worker was first.

        The row stays with a raised count: if the claimant dies too, others find the executor
        silent again.
        """
        with unit_of_work(self._engine) as session:
            claim = (
                update(ExecutorRow)
                .where(ExecutorRow.id == executor, ExecutorRow.beats == heartbeats)
                .values(beats=heartbeats + 1)
                .returning(ExecutorRow.id)
                .execution_options(synchronize_session=False)
            )
            return session.scalar(claim) is not None

    def remove(self, executor: str) -> None:
        """Remove an executor."""
        with unit_of_work(self._engine) as session:
            session.execute(delete(ExecutorRow).where(ExecutorRow.id == executor))


def _taken(executor: str) -> Conflict:
    return Conflict(
        f"another process works under the name {executor!r}: this one ends, so that no search is "
        "worked on twice; start it again, and it takes a new name"
    )

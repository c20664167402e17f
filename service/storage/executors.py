"""The processes that work on searches, each a row whose count of heartbeats rises while it lives.

`service.jobs.recovery` decides from these rows who is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine, delete, select, update

from service.storage.sessions import unit_of_work, utc_now
from service.storage.tables import ExecutorRow


class ExecutorStore:
    """The rows of executors, in a database whose schema is current."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    def beat(self, executor: str) -> None:
        """Say that an executor lives, whether or not others had given it up."""
        with unit_of_work(self._engine) as session:
            row = session.get(ExecutorRow, executor)
            if row is None:
                session.add(ExecutorRow(id=executor, beats=1, started_at=self._now()))
            else:
                row.beats += 1

    def all(self) -> dict[str, int]:
        """Every executor that is not known to have ended, and how often it has beaten."""
        with unit_of_work(self._engine) as session:
            return {row.id: row.beats for row in session.scalars(select(ExecutorRow))}

    def count(self) -> int:
        """How many there are."""
        return len(self.all())

    def watch(self, executor: str) -> None:
        """Have an executor that nobody knows watched: it will be seen to live, or to be dead."""
        if executor not in self.all():
            self.beat(executor)

    def claim(self, executor: str, beats: int) -> bool:
        """Take it on to bury an executor; false if it lives after all, or another does.

        The row stays, and looks alive for a while: should the undertaker die, another will come.
        """
        with unit_of_work(self._engine) as session:
            mine = (
                update(ExecutorRow)
                .where(ExecutorRow.id == executor, ExecutorRow.beats == beats)
                .values(beats=beats + 1)
                .returning(ExecutorRow.id)
                .execution_options(synchronize_session=False)
            )
            return session.scalar(mine) is not None

    def remove(self, executor: str) -> None:
        """Forget an executor."""
        with unit_of_work(self._engine) as session:
            session.execute(delete(ExecutorRow).where(ExecutorRow.id == executor))

"""Notice that some search has changed, in whichever process, without asking the database.

On PostgreSQL every transaction that records an event notifies (`notify`), and one connection of
each process listens. On SQLite one thread of each process looks at the date of the write-ahead log,
which every commit changes. Both tell that something changed; `latest_events` reads what.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.contracts import StoreUnavailable
from service.storage.database import CONNECT_TIMEOUT_S
from service.storage.sessions import read_connection
from service.storage.tables import EventRow

if TYPE_CHECKING:
    import psycopg

CHANNEL = "subnet_search_events"
LOOK_EVERY_S = 0.02
SAME_DATE_S = 0.05
"""File systems date a change by the clock's last tick, so two commits within a few milliseconds may
look like one. Therefore the log counts as changed once more after each change."""


class Signal(Protocol):
    """Waits for changes."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for a change since the last call; false if there was none in this time. An error
        of the connection leaves the `with` block of `signal` as `StoreUnavailable`."""
        ...


@contextmanager
def signal(engine: Engine) -> Iterator[Signal]:
    """A signal of the changes from now on.

    Raises:
        StoreUnavailable: if the database does not answer.
    """
    if engine.dialect.name == "postgresql":
        with _listening(engine) as notifications:
            yield notifications
    else:
        yield WriteAheadLog(Path(f"{engine.url.database}-wal"))


@contextmanager
def _listening(engine: Engine) -> Iterator[Signal]:
    import psycopg

    arguments, options = engine.dialect.create_connect_args(engine.url)
    try:
        # Not one of the engine's pool, whose places are for requests.
        own = {"autocommit": True, "connect_timeout": CONNECT_TIMEOUT_S}
        # The URL may state such options too; as for the engine, ours hold.
        with psycopg.connect(*arguments, **{**options, **own}) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            yield Notifications(connection)
    except psycopg.Error as error:
        raise StoreUnavailable(f"the database does not answer: {error}") from error


def notify(session: Session, search_id: str) -> None:
    """Have all processes notice, once this transaction is committed, that a search changed."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(CHANNEL, search_id)))


def latest_events(engine: Engine, search_ids: Sequence[str]) -> dict[str, int]:
    """The id of the last event of each of some searches."""
    query = (
        select(EventRow.search_id, func.max(EventRow.id))
        .where(EventRow.search_id.in_(search_ids))
        .group_by(EventRow.search_id)
    )
    with read_connection(engine) as connection:
        return {search_id: last for search_id, last in connection.execute(query)}


class Notifications:
    """PostgreSQL's notifications."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def wait(self, timeout_s: float) -> bool:
        """As `Signal.wait`."""
        return any(True for _ in self._connection.notifies(timeout=timeout_s, stop_after=1))


class WriteAheadLog:
    """The log of a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._date = self._read_date()
        self._again_at: float | None = None

    def wait(self, timeout_s: float) -> bool:
        """As `Signal.wait`; looks every `LOOK_EVERY_S`."""
        deadline = time.monotonic() + timeout_s
        while (now := time.monotonic()) < deadline:
            time.sleep(min(LOOK_EVERY_S, deadline - now))
            date, now = self._read_date(), time.monotonic()
            if date != self._date:
                self._date, self._again_at = date, now + SAME_DATE_S
                return True
            if self._again_at is not None and now >= self._again_at:
                self._again_at = None
                return True
        return False

    def _read_date(self) -> tuple[int, int] | None:
        # Never opened: closing a file of a database drops SQLite's locks on it.
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size

"""Open the database, and migrate it to the newest schema where that is needed.

alembic, DBOS and psycopg are imported where they are used: a command that finds the schema current
needs none of them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError

from models.errors import InputError

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_TIMEOUT_S = 15
BUSY_PAUSE_S = 0.01
CONNECT_TIMEOUT_S = 5
SUBSEC_SINCE = (3, 42)
"""SQLite's version that knows `unixepoch('subsec')`. From Python 3.12 on, DBOS's tables and queries
use it, whatever SQLite is there: Debian 12 has 3.40, where it is NULL."""
MIGRATION_LOCK = 0x5B5E7
"""Key of PostgreSQL's advisory lock; any fixed number will do."""


# -- engines -------------------------------------------------------------------------------


def open_database(url: str) -> Engine:
    """An engine for `url`. The folder of a SQLite file is created; its journal is write-ahead.

    Raises:
        InputError: if `url` is not a URL of SQLite or PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError(f"database_url: not a SQLAlchemy URL: {error}") from error
    match parsed.get_backend_name():
        case "postgresql":
            import psycopg

            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                module=psycopg,
                pool_pre_ping=True,
                connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
            )
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
            event.listen(engine, "connect", _configure_sqlite)
            return engine
        case name:
            raise InputError(
                f"database_url: expected a SQLite file or PostgreSQL, got {name!r}"
                f"{' in memory, which workers cannot share' if name == 'sqlite' else ''}"
            )


def _configure_sqlite(connection: Any, _: object) -> None:
    # A transaction takes the write lock when it begins, waiting for its turn, instead of failing
    # at its first write.
    connection.isolation_level = "IMMEDIATE"
    cursor = connection.cursor()
    _use_write_ahead_log(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    if sqlite3.sqlite_version_info < SUBSEC_SINCE:
        connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float:
    if modifier != "subsec":
        raise ValueError(f"unixepoch: expected 'subsec', got {modifier!r}")
    return time.time_ns() // 1_000_000 / 1000


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    # SQLite's busy timeout does not cover this statement: when several processes open a new file,
    # it fails immediately.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_S)


# -- the schema ----------------------------------------------------------------------------


def database_exists(url: str) -> bool:
    """Whether `url` names a server or a SQLite file that exists."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").is_file()


def open_current(url: str) -> Engine:
    """An engine for `url` whose tables are at the newest revision, migrated only if they are not.

    Only our own tables are checked. Whoever enqueues or runs jobs needs DBOS's tables too and
    calls `migrate`.

    Raises:
        InputError: if `url` is not a URL of SQLite or PostgreSQL.
    """
    engine = open_database(url)
    if not is_current(engine):
        migrate(engine)
    return engine


@contextmanager
def current_database(url: str) -> Iterator[Engine]:
    """As `open_current`, disposed of at the end."""
    engine = open_current(url)
    try:
        yield engine
    finally:
        engine.dispose()


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring our tables to a revision, and DBOS's to the newest schema; several processes may start
    at once."""
    from alembic import command

    from service.storage.dbos_schema import migrate_dbos

    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        _lock(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    migrate_dbos(engine)


def is_current(engine: Engine) -> bool:
    """Whether our tables are at the newest revision (and the database answers at all)."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        return versions.scalars().all() == [head()]


def is_new(engine: Engine) -> bool:
    """Whether the database has none of our tables yet."""
    with engine.connect() as connection:
        return not inspect(connection).has_table("alembic_version")


def revisions() -> list[str]:
    """All revisions, the newest last; a revision is named after its file."""
    return sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def head() -> str:
    """The newest revision."""
    return revisions()[-1]


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Suspend foreign keys in SQLite, where a table is changed by copying it to a new one.

    The pragma has no effect within a transaction.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.commit()
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()


def _lock(connection: Connection) -> None:
    """Hold off other migrations until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

"""Open the database and bring it to the present schema."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from models.errors import InputError
from service.storage.dbos_schema import migrate_durable

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_TIMEOUT_S = 15
BUSY_PAUSE_S = 0.01
CONNECT_TIMEOUT_S = 5
MIGRATION_LOCK = 0x5B5E7
"""Any fixed number: PostgreSQL's advisory locks have numbers for names."""


def open_database(url: str) -> Engine:
    """An engine for `url`; a SQLite file's folder is created, in write-ahead mode.

    Raises:
        InputError: if `url` is not a URL of SQLite or PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError(f"database_url: not a SQLAlchemy URL: {error}") from error
    match parsed.get_backend_name():
        case "postgresql":
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
    # Whoever writes waits for its turn at once, instead of failing when it comes to writing.
    connection.isolation_level = "IMMEDIATE"
    cursor = connection.cursor()
    _use_write_ahead_log(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    # The one statement that fails at once where others wait for a lock, so a new file opened by
    # several processes needs a wait of our own.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE_S)


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; several processes may start at once."""
    with engine.connect() as connection, _tables_may_be_remade(connection), connection.begin():
        _lock(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    migrate_durable(engine)


@contextmanager
def open_migrated(url: str) -> Iterator[Engine]:
    """An engine for `url` at the newest schema, for as long as it is needed.

    Raises:
        InputError: if `url` is not a URL of SQLite or PostgreSQL.
    """
    engine = open_database(url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _tables_may_be_remade(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making another in its place; rows that refer to it must not mind.

    The switch does nothing within a transaction.
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


def is_current(engine: Engine) -> bool:
    """Whether the schema is at the newest revision (and the database answers at all)."""
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    return found == head()


def head() -> str:
    """The newest revision of the schema."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _lock(connection: Connection) -> None:
    """Hold off other migrations until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

"""Opening a database, and what DBOS's warnings become in the log."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import pytest
import structlog
from sqlalchemy.dialects import sqlite

from service.storage.database import (
    _without_foreign_keys,
    current_database,
    database_exists,
    is_current,
    open_current,
    open_database,
)
from service.storage.dbos_schema import _ToStructlog, quieten_dbos
from service.storage.tables import UtcDateTime


def test_a_sqlite_database_exists_once_there_is_a_file(tmp_path):
    url = f"sqlite:///{tmp_path / 'folder' / 'new.sqlite'}"
    assert not database_exists(url)
    assert not database_exists(f"sqlite:///{tmp_path}"), "a folder is none"
    with current_database(url) as engine:
        assert is_current(engine)
    assert database_exists(url)
    assert database_exists("postgresql://somewhere/else"), "whether it answers is seen later"


def test_what_is_current_is_not_migrated_again(migrated_sqlite, monkeypatch):
    def migrated(engine):
        raise AssertionError

    monkeypatch.setattr("service.storage.database.migrate", migrated)
    engine = open_current(f"sqlite:///{migrated_sqlite}")
    assert is_current(engine)
    engine.dispose()


def test_foreign_keys_are_suspended_no_longer_than_a_migration_takes(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'new.sqlite'}")

    def enforced():
        return connection.exec_driver_sql("PRAGMA foreign_keys").scalar()

    with engine.connect() as connection:
        with _without_foreign_keys(connection):
            assert enforced() == 0
            connection.commit()
        assert enforced() == 1
        connection.commit()
        with pytest.raises(RuntimeError), _without_foreign_keys(connection):
            raise RuntimeError
        assert enforced() == 1
    engine.dispose()


@pytest.fixture
def far_east(monkeypatch):
    """This process is in a zone whose time is not UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_stored_moments_are_utc_whatever_the_zone_of_the_machine(far_east):
    column, noon = UtcDateTime(), datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert column.process_bind_param(noon.astimezone(), sqlite.dialect()) == noon
    for stored in (noon, noon.replace(tzinfo=None), noon.astimezone()):  # SQLite keeps no zone
        read = column.process_result_value(stored, sqlite.dialect())
        assert read == noon
        assert read.tzinfo is UTC


def warning(created_s: float, line: int = 1, text: str = "the database is gone\nand so on"):
    record = logging.LogRecord("dbos", logging.WARNING, "poll.py", line, text, (), None)
    record.created = created_s
    return record


def test_a_warning_that_repeats_is_passed_on_once_in_ten_seconds(monkeypatch):
    log = structlog.testing.CapturingLogger()  # another test may configure the common one
    monkeypatch.setattr("service.storage.dbos_schema.log", log)
    handler = _ToStructlog(logging.WARNING)
    for created_s, line in ((1000, 1), (1001, 2), (1009.9, 1), (1010, 1), (1011, 2), (1020, 1)):
        handler.emit(warning(created_s, line))
    passed = [(call.method_name, call.kwargs["detail"]) for call in log.calls]
    assert passed == [("warning", "the database is gone")] * 5
    handler.emit(warning(2000, text="x" * 1000))
    assert len(log.calls[-1].kwargs["detail"]) == 300


def test_dbos_is_quietened_once():
    logger = logging.getLogger("dbos")
    before = logger.handlers[:], logger.propagate
    try:
        logger.handlers[:], logger.propagate = [logging.StreamHandler()], True
        quieten_dbos()
        (handler,) = logger.handlers
        assert isinstance(handler, _ToStructlog)
        assert (handler.level, logger.propagate) == (logging.WARNING, False)
        quieten_dbos()
        assert logger.handlers == [handler]
    finally:
        logger.handlers[:], logger.propagate = before


def test_every_sqlite_knows_milliseconds(tmp_path):
    """DBOS fills its columns with them from Python 3.12 on, and so may a database made there."""
    before = time.time() - 0.001
    engine = open_database(f"sqlite:///{tmp_path}/a.sqlite3")
    with engine.begin() as connection:
        default = "at INTEGER NOT NULL DEFAULT (unixepoch('subsec') * 1000)"
        connection.exec_driver_sql(f"CREATE TABLE times (name TEXT, {default})")
        connection.exec_driver_sql("INSERT INTO times (name) VALUES ('a')")
        (at_ms,) = connection.exec_driver_sql("SELECT at FROM times").scalars()
    assert before <= at_ms / 1000 <= time.time()
    engine.dispose()

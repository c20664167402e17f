"""The schema that migrations make, from nothing and by several processes at once."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Timer

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError, OperationalError

from models.errors import InputError
from service.jobs.queue import Durable
from service.jobs.recovery import WorkerRecovery
from service.storage import ExecutorStore
from service.storage.database import (
    _config,
    _without_foreign_keys,
    is_current,
    migrate,
    open_database,
)
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from service.storage.tables import Base

MOMENT = "'2025-01-01 00:00:00+00:00'"
REVISIONS = [step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()]
SEARCH = (
    "INSERT INTO searches (id, request_sha256, request, supernet, device, profile_sha256, status, "
    "owner, lease_until, attempts, result, created_at, finished_at) VALUES "
)
ROWS_OF_0001 = (
    "INSERT INTO profiles VALUES ('p', 'a table')",
    f"{SEARCH} ('done', 'r1', '{{}}', 'net', 'phone', 'p', 'succeeded', NULL, NULL, 1, "
    f"'{{\"top1\": 90.0}}', {MOMENT}, {MOMENT})",
    f"{SEARCH} ('ran', 'r2', '{{}}', 'net', 'phone', 'p', 'running', 'w', {MOMENT}, 1, "
    f"NULL, {MOMENT}, NULL)",
    "INSERT INTO events (search_id, kind, data, created_at) VALUES "
    f"('done', 'queued', '{{}}', {MOMENT}), ('done', 'succeeded', '{{}}', {MOMENT})",
    f"INSERT INTO idempotency_keys VALUES ('key', 'body', 'done', {MOMENT})",
)


@pytest.fixture
def engine(empty_url):
    engine = open_database(empty_url)
    yield engine
    engine.dispose()


def is_ours(name, kind, parents):
    """DBOS has tables of its own beside ours."""
    return kind != "table" or name in Base.metadata.tables


def schema(engine):
    """Everything the database says about our tables."""
    found = inspect(engine)
    return {
        (table, kind, str(sorted(item.items(), key=str)))
        for table in Base.metadata.tables
        for kind, items in (
            ("column", found.get_columns(table)),
            ("check", found.get_check_constraints(table)),
            ("unique", found.get_unique_constraints(table)),
            ("foreign key", found.get_foreign_keys(table)),
            ("index", found.get_indexes(table)),
            ("primary key", [found.get_pk_constraint(table)]),
        )
        for item in items
    }


@pytest.mark.slow
def test_from_empty_to_what_the_rows_say(engine, tmp_path):
    assert not is_current(engine)
    migrate(engine)
    assert is_current(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, Base.metadata) == []
    # The comparison leaves out what the constraints of rows say, so also against a plain twin.
    if engine.dialect.name == "sqlite":
        twin = open_database(f"sqlite:///{tmp_path / 'twin.sqlite'}")
        Base.metadata.create_all(twin)
        assert schema(engine) == schema(twin) != set()
        twin.dispose()


def test_twice_is_once(engine):
    migrate(engine)
    migrate(engine)
    assert is_current(engine)


@pytest.mark.slow
@pytest.mark.parametrize("revision", [REVISIONS[-1], REVISIONS[1], REVISIONS[0]])
def test_from_an_older_revision_with_rows(engine, revision):
    """What an older version stored is still there, and what was running waits again.

    Rows of the oldest go through every revision, whatever is stopped at on the way.
    """
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in ROWS_OF_0001:
            connection.exec_driver_sql(statement)
        command.upgrade(config, revision)
    migrate(engine)
    assert is_current(engine)
    store, durable = SearchStore(engine), Durable(engine)
    assert store.profile("p") == "a table"
    done, ran = store.get("done"), store.get("ran")
    assert (done.status, done.result, done.run) == ("succeeded", {"top1": 90.0}, 1)
    assert [event.kind for event in store.events("done")] == ["queued", "succeeded"]
    assert store.find_by_key("key", "body") == done
    assert (ran.status, ran.attempts) == ("queued", 1)
    # DBOS knows nothing of it: the sweep starts it.
    runs = RunStore(engine, enqueue=durable.enqueue)
    executors = ExecutorStore(engine)
    WorkerRecovery("me", executors, runs, durable, dead_after_s=1).sweep(())
    (waiting,) = durable.states([f"ran.{ran.run + 1}"]).values()
    assert waiting.status == "ENQUEUED"
    with pytest.raises(IntegrityError), store.session_scope() as session:
        session.connection().exec_driver_sql("DELETE FROM searches WHERE id = 'done'")


@pytest.mark.slow
def test_many_at_once(empty_url):
    engines = [open_database(empty_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, engines))
    assert all(is_current(engine) for engine in engines)
    for engine in engines:
        engine.dispose()


@pytest.mark.slow
def test_a_new_sqlite_file_waits_for_whoever_writes_it(tmp_path):
    """SQLite itself refuses to change the journal at once, without its timeout."""
    path = tmp_path / "new.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("CREATE TABLE elsewhere (column_1)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO elsewhere VALUES (1)")
        with closing(sqlite3.connect(path)) as plain, pytest.raises(sqlite3.OperationalError):
            plain.execute("PRAGMA journal_mode=WAL")
        release = Timer(0.3, other.commit)
        release.start()
        engine = open_database(f"sqlite:///{path}")
        migrate(engine)
        release.join()
    assert is_current(engine)
    engine.dispose()


def test_a_sqlite_file_that_stays_locked_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr("service.storage.database.BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "new.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE elsewhere (column_1)")
        with pytest.raises(OperationalError, match="database is locked"):
            migrate(open_database(f"sqlite:///{path}"))


def test_sqlite_is_set_up_for_several_processes(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a SQLAlchemy URL"),
        ("mysql://host/db", "expected a SQLite file or PostgreSQL, got 'mysql'"),
        ("sqlite://", "in memory, which workers cannot share"),
        ("sqlite:///:memory:", "in memory, which workers cannot share"),
    ],
)
def test_other_databases_are_refused(url, message):
    with pytest.raises(InputError, match=message):
        open_database(url)

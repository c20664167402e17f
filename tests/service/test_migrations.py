"""The schema that migrations make, from nothing and by several processes at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from models.errors import InputError
from service.database import is_current, migrate, open_database
from service.tables import Base


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'deep' / 'new.sqlite'}")
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


def test_from_empty_to_what_the_rows_say(engine, tmp_path):
    assert not is_current(engine)
    migrate(engine)
    assert is_current(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, Base.metadata) == []
    # The comparison leaves out what the constraints of rows say, so also against a plain twin.
    twin = open_database(f"sqlite:///{tmp_path / 'twin.sqlite'}")
    Base.metadata.create_all(twin)
    assert schema(engine) == schema(twin) != set()
    twin.dispose()


def test_twice_is_once(engine):
    migrate(engine)
    migrate(engine)
    assert is_current(engine)


def test_many_at_once(tmp_path):
    engines = [open_database(f"sqlite:///{tmp_path / 'shared.sqlite'}") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, engines))
    assert all(is_current(engine) for engine in engines)
    for engine in engines:
        engine.dispose()


def test_sqlite_is_set_up_for_several_processes(engine):
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


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

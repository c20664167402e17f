"""Units of work: the only places where a session or a connection is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from service.contracts import StoreUnavailable


def utc_now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """A session that is committed at the end and rolled back by an exception.

    Raises:
        StoreUnavailable: if the database does not answer.
    """
    with translate_outages(), Session(engine) as session, session.begin():
        yield session


@contextmanager
def read_connection(engine: Engine) -> Iterator[Connection]:
    """A connection for frequent short queries, which take less time than making a session.

    Raises:
        StoreUnavailable: if the database does not answer.
    """
    with translate_outages(), engine.connect() as connection:
        yield connection


@contextmanager
def translate_outages() -> Iterator[None]:
    """Translate database failures inside the block, also those of a library that uses the database.

    Raises:
        StoreUnavailable: if the database does not answer.
    """
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        reason = getattr(error, "orig", error)
        raise StoreUnavailable(f"the database does not answer: {reason}") from error

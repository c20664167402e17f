"""Users' latency tables in the database, revision by revision: every query about them.

A device may have a table for each pair of a space and a precision. A table is never changed:
another one becomes the next revision, and those before stay, with the searches that used them.
Names are apart for each owner's private devices and for the shared ones, so nobody learns from a
name that is taken what others keep to themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, bindparam, delete, func, select, true, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from models.errors import Conflict
from service.contracts import TableRevision
from service.storage.sessions import read_connection, unit_of_work, utc_now
from service.storage.tables import DeviceTableRow, ProfileRow, SearchRow

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable

Seen = Sequence[str] | None
"""Owners whose private devices are looked at; "" stands for the shared ones, None for all."""
ATTEMPTS = 5
"""Of storing a revision, when others store theirs at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision of a table as it is stored."""

    device: str
    space: str
    precision: str
    number: int
    """Counts from 1."""
    sha256: str
    """Of the table's text."""
    content: str
    """The table's text, as `latency_tables.table.codec` reads it."""
    measurements: Mapping[str, Any] | None
    """Whole networks by which the revision before was corrected."""
    created_at: datetime
    owner: str | None
    shared: bool

    @property
    def private_to(self) -> str:
        """The owner who alone sees it; empty for a shared one."""
        return "" if self.shared else str(self.owner)


class DeviceStore:
    """Users' tables in a database whose schema is current; as safe to share as `SearchStore`."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    def add(
        self,
        table: LatencyTable,
        *,
        replace: bool = False,
        follows: str | None = None,
        measurements: Mapping[str, Any] | None = None,
        owner: str | None = None,
        shared: bool = True,
    ) -> Revision:
        """Keep `table` as the current revision; one that is current already is left alone.

        Args:
            replace: whether there may be a table for its device, space and precision already.
            follows: sha256 of the table that it was computed from, which has to be the current one;
                "": there has to be none. None: whichever is current.
            measurements: whole networks by which the revision before was corrected.

        Raises:
            Conflict: if there is one and `replace` is false, or another than `follows`.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._add(table, replace, follows, measurements, owner, shared)
            except IntegrityError:  # somebody stored the same revision or text meanwhile
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _add(
        self,
        table: LatencyTable,
        replace: bool,
        follows: str | None,
        measurements: Mapping[str, Any] | None,
        owner: str | None,
        shared: bool,
    ) -> Revision:
        from latency_tables.table import table_to_json  # slow to import

        precision, content = table.conditions.precision, table_to_json(table)
        private_to = "" if shared else owner
        assert private_to is not None, "what is not shared has an owner"
        key = (private_to, table.device, table.space, precision)
        with unit_of_work(self._engine) as session:
            last = session.scalar(
                select(DeviceTableRow).where(_key() == key).order_by(_NEWEST).limit(1)
            )
            if last is not None and not replace:
                raise Conflict(
                    f"device {table.device!r} has a table for space {table.space!r} at "
                    f"{precision}: choose another name, or replace it by "
                    "`subnet-search devices import FILE --replace`"
                )
            sha256 = sha256_of_text(content)
            if last is None or last.sha256 != sha256 or measurements is not None:
                if follows not in (None, "" if last is None else last.sha256):
                    raise Conflict(
                        f"device {table.device!r} got another table for space {table.space!r} at "
                        f"{precision}, or lost it, while this one was computed from the one "
                        "before: repeat it with the present table"
                    )
                if session.get(ProfileRow, sha256) is None:
                    session.add(ProfileRow(sha256=sha256, content=content))
                    session.flush()
                last = DeviceTableRow(
                    private_to=private_to,
                    device=table.device,
                    space=table.space,
                    precision=precision,
                    revision=1 if last is None else last.revision + 1,
                    sha256=sha256,
                    measurements=None if measurements is None else dict(measurements),
                    created_at=self._now(),
                    owner=owner,
                )
                session.add(last)
                session.flush()
            return _read(last, content)

    def remove(self, device: str, private_to: str, tables: Collection[tuple[str, str]]) -> None:
        """Remove every revision of some tables; searches keep the texts that they were asked with.

        Args:
            private_to: the owner who alone sees the device; empty for a shared one.
            tables: space and precision of each.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._remove(device, private_to, tables)
            except IntegrityError:  # a search with one of the texts was stored meanwhile
                if attempt == ATTEMPTS - 1:
                    raise

    def _remove(self, device: str, private_to: str, tables: Collection[tuple[str, str]]) -> None:
        keys = [(private_to, device, space, precision) for space, precision in tables]
        with unit_of_work(self._engine) as session:
            rows = _key().in_(keys)
            texts = set(session.scalars(select(DeviceTableRow.sha256).where(rows)))
            session.execute(delete(DeviceTableRow).where(rows))
            unused = [
                ProfileRow.sha256.not_in(select(column).where(column.in_(texts)))
                for column in (DeviceTableRow.sha256, SearchRow.profile_sha256)
            ]
            session.execute(delete(ProfileRow).where(ProfileRow.sha256.in_(texts), *unused))

    def keys(self, seen: Seen = None) -> list[tuple[str, str, str, str]]:
        """To whom each table is private, or "", its device, space and precision, sorted."""
        query = select(*_KEY).distinct().order_by(*_KEY).where(_among(seen))
        with read_connection(self._engine) as connection:
            return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]

    def current(self, device: str, seen: Seen = None) -> list[Revision]:
        """The current tables of a device, by space and precision; none if it is unknown.

        Shared ones come before the private ones of that name.
        """
        with read_connection(self._engine) as connection:
            rows = connection.execute(*_asked(_CURRENT, [device], seen))
            return [_read(row, row.content) for row in rows]

    def revisions(
        self, private_to: str, device: str, space: str, precision: str
    ) -> list[TableRevision]:
        """Every revision of a table, the newest first."""
        query = select(*DeviceTableRow.__table__.columns).order_by(_NEWEST)
        with read_connection(self._engine) as connection:
            rows = connection.execute(query.where(_key() == (private_to, device, space, precision)))
            return [
                TableRevision(
                    revision=row.revision,
                    sha256=row.sha256,
                    created_at=row.created_at,
                    networks=row.measurements and len(row.measurements["arch"]),
                )
                for row in rows
            ]

    def content(self, sha256: str) -> str | None:
        """Text of a table that a device has or had, or that a search used; None if unknown."""
        with unit_of_work(self._engine) as session:
            row = session.get(ProfileRow, sha256)
            return None if row is None else row.content

    def has_text(self, sha256: str, seen: Seen = None) -> bool:
        """Whether a revision of some device has the text with this hash."""
        query = select(DeviceTableRow.sha256).where(DeviceTableRow.sha256 == sha256, _among(seen))
        with read_connection(self._engine) as connection:
            return connection.scalar(query.limit(1)) is not None

    def heads(self, sha256: Iterable[str], length: int) -> dict[str, str]:
        """The first characters of tables' texts, by their hashes."""
        query = select(ProfileRow.sha256, func.substr(ProfileRow.content, 1, length))
        with read_connection(self._engine) as connection:
            rows = connection.execute(query.where(ProfileRow.sha256.in_(set(sha256))))
            return {known: head for known, head in rows}

    def current_sha256(
        self, devices: Iterable[str], seen: Seen = None
    ) -> dict[tuple[str, str, tuple[str, str]], str]:
        """What the current tables of devices hash to, by the owner to whom they are private, or "",
        device, and (space, precision); shared ones come first."""
        with read_connection(self._engine) as connection:
            rows = connection.execute(*_asked(_CURRENT_SHA256, devices, seen))
            return {
                (private_to, device, (space, precision)): sha256
                for private_to, device, space, precision, sha256 in rows
            }


def sha256_of_text(content: str) -> str:
    """By which a table's text is known: equal tables, equal revisions."""
    return hashlib.sha256(content.encode()).hexdigest()


_NEWEST = DeviceTableRow.revision.desc()


_KEY = (
    DeviceTableRow.private_to,
    DeviceTableRow.device,
    DeviceTableRow.space,
    DeviceTableRow.precision,
)


def _key() -> Any:
    return tuple_(*_KEY)


def _among(seen: Seen) -> Any:
    return true() if seen is None else DeviceTableRow.private_to.in_(seen)


def _current(query: Any) -> tuple[Any, Any]:
    """Of the tables of some devices, the newest revision of each: of all, and of those `seen`."""
    other = aliased(DeviceTableRow)
    same = [getattr(other, column.key) == column for column in _KEY]
    newest = select(func.max(other.revision)).where(*same).scalar_subquery()
    among = DeviceTableRow.device.in_(bindparam("devices", expanding=True))
    seen = DeviceTableRow.private_to.in_(bindparam("seen", expanding=True))
    every = query.where(among, DeviceTableRow.revision == newest).order_by(*_KEY)
    return every, every.where(seen)


_ALL: Any = select(*DeviceTableRow.__table__.columns, ProfileRow.content).join(
    ProfileRow, ProfileRow.sha256 == DeviceTableRow.sha256
)
# Made once: to put a statement together takes longer than to run one of these.
_CURRENT = _current(_ALL)
_CURRENT_SHA256 = _current(select(*_KEY, DeviceTableRow.sha256))


def _asked(
    queries: tuple[Any, Any], devices: Iterable[str], seen: Seen
) -> tuple[Any, dict[str, list[str]]]:
    """One of `_current`'s queries and its values."""
    every, among = queries
    values = {"devices": sorted(set(devices))}
    return (every, values) if seen is None else (among, {**values, "seen": list(seen)})


def _read(row: Any, content: str) -> Revision:
    return Revision(
        device=row.device,
        space=row.space,
        precision=row.precision,
        number=row.revision,
        sha256=row.sha256,
        content=content,
        measurements=row.measurements,
        created_at=row.created_at,
        owner=row.owner,
        shared=not row.private_to,
    )

"""Devices as the service sees them: by name, posted, or inline in a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from latency_tables import codec
from latency_tables.store import (
    DEFAULT_PRECISION,
    BuiltinDevices,
    Device,
    TableKey,
    parse_profile,
)
from latency_tables.table import LatencyTable
from models.errors import Conflict, NotFound
from service.device_store import DeviceStore, Revision, sha256_of_text


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table of a device and where it is kept."""

    table: LatencyTable
    sha256: str
    """Of the table's text."""
    revision: int | None
    """Counts from 1; None for one that comes with the program."""
    created_at: datetime | None


class Devices:
    """The devices of one installation: those that come with the program, and the users'."""

    def __init__(
        self,
        open_store: Callable[[], DeviceStore] | None = None,
        builtin: BuiltinDevices | None = None,
    ) -> None:
        """
        Args:
            open_store: called once, when a user's table is first asked for; without it there are
                only the devices that come with the program.
        """
        self._open_store = open_store
        self._builtin = builtin or BuiltinDevices()

    @cached_property
    def store(self) -> DeviceStore | None:
        """Users' tables."""
        return None if self._open_store is None else self._open_store()

    def names(self) -> list[str]:
        """All names, sorted."""
        own = [] if self.store is None else self.store.names()
        return sorted({*self._builtin.names(), *own})

    def keys(self) -> dict[str, list[TableKey]]:
        """Space and precision of every table, by device, without reading the tables."""
        found = {name: self._builtin.keys(name) for name in self._builtin.names()}
        for device, space, precision in [] if self.store is None else self.store.keys():
            found.setdefault(device, []).append((space, precision))
        return {device: sorted(set(found[device])) for device in sorted(found)}

    def get(self, name: str) -> list[KeptTable]:
        """The current tables of a device, by space and precision.

        Raises:
            NotFound: with the nearest known name.
        """
        found: dict[TableKey, KeptTable] = {}
        for revision in [] if self.store is None else self.store.current(name):
            found[revision.space, revision.precision] = KeptTable(
                _read(revision.content), revision.sha256, revision.number, revision.created_at
            )
        for key in self._builtin.keys(name):
            table = self._builtin.table(name, key)
            assert table is not None
            found[key] = KeptTable(table, revision_of(table), None, None)
        if not found:
            raise NotFound.named("device", name, self.names())
        return [found[key] for key in sorted(found)]

    def tables(self, name: str) -> list[LatencyTable]:
        """The current tables of a device, one a space and precision.

        Raises:
            NotFound: with the nearest known name.
        """
        return [item.table for item in self.get(name)]

    def add(
        self,
        table: LatencyTable,
        *,
        replace: bool = False,
        measurements: Mapping[str, Any] | None = None,
        owner: str | None = None,
        shared: bool = True,
    ) -> Revision:
        """Keep a table under its device's name, as a new revision; see `DeviceStore.add`.

        Raises:
            Conflict: if that device has a table for that space and precision and `replace` is
                false, or the one that it has comes with the program.
        """
        assert self.store is not None, "devices without a store keep nothing"
        precision = table.conditions.precision
        if (table.space, precision) in self._builtin.keys(table.device):
            raise Conflict(
                f"device {table.device!r} has a table for space {table.space!r} at {precision} "
                "that is built in: choose another name"
            )
        return self.store.add(
            table, replace=replace, measurements=measurements, owner=owner, shared=shared
        )

    def resolve(
        self, device: str | Mapping[str, Any] | None, space: str, precision: str | None = None
    ) -> LatencyTable | None:
        """The table of a device for `space`: stored under a name, or in an inline profile.

        Args:
            precision: of a stored table; None: fp32, else the only one.

        Raises:
            NotFound: if there is no such device, or it has no such table.
            InputError: if the profile does not hold.
        """
        if device is None:
            return None
        if isinstance(device, Mapping):
            return parse_profile(device)
        return self.table(device, space, precision)

    def table(self, name: str, space: str, precision: str | None = None) -> LatencyTable:
        """The current table of a device.

        Raises:
            NotFound: if there is no such device, or it has no such table.
        """
        # Tables that come with the program need no database.
        builtin = self._builtin.table(name, (space, precision or DEFAULT_PRECISION))
        if builtin is not None:
            return builtin
        tables: dict[TableKey, LatencyTable] = {
            (table.space, table.conditions.precision): table for table in self.tables(name)
        }
        return Device(name, tables).table(space, precision)

    def current_sha256(self, names: Iterable[str]) -> dict[str, set[str]]:
        """What the current tables of each device hash to; unknown devices are left out.

        One query for all of them, and no table is read twice.
        """
        wanted = set(names)
        found = {} if self.store is None else self.store.current_sha256(wanted)
        for name in wanted & set(self._builtin.names()):
            for key in self._builtin.keys(name):
                sha256 = self._builtin_sha256(name, key)
                found.setdefault(name, set()).add(sha256)
        return found

    def _builtin_sha256(self, name: str, key: TableKey) -> str:
        """Files that come with the program stay as they are while it runs."""
        if (name, key) not in self._known_sha256:
            table = self._builtin.table(name, key)
            assert table is not None
            self._known_sha256[name, key] = revision_of(table)
        return self._known_sha256[name, key]

    @cached_property
    def _known_sha256(self) -> dict[tuple[str, TableKey], str]:
        return {}


def revision_of(table: LatencyTable) -> str:
    """The sha256 of a table's text: equal tables, equal revisions."""
    return sha256_of_text(codec.to_json(table))


@lru_cache(maxsize=64)
def _read(content: str) -> LatencyTable:
    return codec.from_json(content)

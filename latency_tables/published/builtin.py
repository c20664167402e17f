"""The latency tables that come with the program.

Those of published devices are compiled from compact figures (`latency_tables.published.shipped`).
Others are files (`latency_tables.table.files`). Users' own tables are in the service's database.
What reads tables is imported when one is asked for: devices are listed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from latency_tables.published.records import shipped_tables
from latency_tables.table import (
    DEFAULT_PRECISION,
    HEAD_CHARS,
    TableKey,
    read_name,
    runtime_in,
)
from models.errors import NotFound

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable

BUILTIN = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its tables by space and precision."""

    name: str
    tables: Mapping[TableKey, LatencyTable]

    def table(self, space: str, precision: str | None = None) -> LatencyTable:
        """The table for `space` at `precision`; if None, at fp32, else at the only one.

        Raises:
            NotFound: the device has no such table.
        """
        return self.tables[choose_table(self.name, self.tables, space, precision)]


def choose_table(
    device: str, keys: Collection[TableKey], space: str, precision: str | None = None
) -> TableKey:
    """The key of a device's table at `precision`; if None, at fp32, else the only one.

    Raises:
        NotFound: there is no such table; names those of the device.
    """
    of_space = [key for key in sorted(keys) if key[0] == space]
    if precision is None and len(of_space) == 1:
        return of_space[0]
    wanted = (space, precision or DEFAULT_PRECISION)
    if wanted not in of_space:
        known = ", ".join(f"{space} ({precision})" for space, precision in sorted(keys))
        raise NotFound(
            f"device {device!r} has no latency table for space {space!r} at {wanted[1]}; "
            f"it has them for: {known}. Measure one with `subnet-search devices measure`"
        )
    return wanted


class BuiltinDevices:
    """The devices that come with the program, by name. A file is read when its table is needed."""

    def __init__(self, folder: Path = BUILTIN) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Every device's name, sorted."""
        return sorted({device for device, _ in self._known()})

    def keys(self, device: str) -> list[TableKey]:
        """Space and precision of every table of a device, sorted; none if it is unknown."""
        return sorted(key for name, key in self._known() if name == device)

    def runtimes(self) -> dict[tuple[str, TableKey], str | None]:
        """The runtime of every table, by device, space and precision; none is read."""
        stated: dict[tuple[str, TableKey], str | None] = {
            (device, (space, record["conditions"]["precision"])): record["conditions"]["runtime"]
            for (device, space), record in shipped_tables(self._folder).items()
        }
        for path in self._folder.glob("*@*.json"):
            with path.open() as file:
                stated[read_name(path)] = runtime_in(file.read(HEAD_CHARS))
        return stated

    def get(self, device: str) -> Device:
        """A device with all its tables.

        Raises:
            NotFound: no such device.
            InputError: one of its files is not a valid table, naming the file.
        """
        keys = self.keys(device)
        if not keys:
            raise NotFound.named("device", device, self.names())
        tables = {key: self._known()[device, key]() for key in keys}
        return Device(device, MappingProxyType(tables))

    def table(self, device: str, key: TableKey) -> LatencyTable | None:
        """One table; None if it does not come with the program."""
        read = self._known().get((device, key))
        return None if read is None else read()

    def _known(self) -> dict[tuple[str, TableKey], Callable[[], LatencyTable]]:
        """How to get the table of each device, space and precision."""
        shipped = {
            (device, (space, record["conditions"]["precision"])): partial(
                _compile, self._folder, device, space
            )
            for (device, space), record in shipped_tables(self._folder).items()
        }
        files = sorted(self._folder.glob("*@*.json"))
        return {**shipped, **{read_name(path): partial(_load, path) for path in files}}


def _compile(folder: Path, device: str, space: str) -> LatencyTable:
    from latency_tables.published.shipped import shipped_table

    return shipped_table(folder, device, space)


def _load(path: Path) -> LatencyTable:
    from latency_tables.table import load_named

    return load_named(path)

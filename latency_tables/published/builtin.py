"""The latency tables that come with the program.

Those of published devices are compiled from compact figures (`latency_tables.published.shipped`).
Others are one JSON file a device, space and precision, named `{device}@{space}.json` at fp32,
`{device}@{space}@{precision}.json` at another precision; no name can contain "@". Users' own tables
are in the service's database.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from latency_tables.published.shipped import shipped_table, shipped_tables
from latency_tables.table import LatencyTable, parse_profile, table_from_json, table_to_json
from models.errors import InputError, NotFound

__all__ = ["BUILTIN", "BuiltinDevices", "Device", "file_name", "load", "parse_profile", "save"]

BUILTIN = Path(__file__).parent / "data"
MAX_BYTES = 16 * 2**20
DEFAULT_PRECISION = "fp32"

TableKey = tuple[str, str]
"""Space and precision: what a device can have one table for."""


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
    """Which of a device's tables is meant: at `precision`; if None, at fp32, else the only one.

    Raises:
        NotFound: there is no such table; names those that there are.
    """
    found = [key for key in sorted(keys) if key[0] == space]
    if precision is None and len(found) == 1:
        return found[0]
    wanted = (space, precision or DEFAULT_PRECISION)
    if wanted not in found:
        known = ", ".join(f"{space} ({precision})" for space, precision in sorted(keys))
        raise NotFound(
            f"device {device!r} has no latency table for space {space!r} at {wanted[1]}; "
            f"it has them for: {known}. Measure one with `subnet-search devices measure`"
        )
    return wanted


class BuiltinDevices:
    """The devices that come with the program, by name. Files are read when asked for."""

    def __init__(self, folder: Path = BUILTIN) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Every device's name, sorted."""
        return sorted({device for device, _ in self._known()})

    def keys(self, device: str) -> list[TableKey]:
        """Space and precision of every table of a device, sorted; none if it is unknown."""
        return sorted(key for name, key in self._known() if name == device)

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
                shipped_table, self._folder, device, space
            )
            for (device, space), record in shipped_tables(self._folder).items()
        }
        files = sorted(self._folder.glob("*@*.json"))
        return {**shipped, **{read_name(path): partial(load_named, path) for path in files}}


def file_name(table: LatencyTable) -> str:
    """What the file of `table` is called."""
    precision = table.conditions.precision
    tail = "" if precision == DEFAULT_PRECISION else f"@{precision}"
    return f"{table.device}@{table.space}{tail}.json"


def read_name(path: Path) -> tuple[str, TableKey]:
    """Device, and space and precision, of which a file's name says that it is."""
    device, _, rest = path.stem.partition("@")
    space, _, precision = rest.partition("@")
    return device, (space, precision or DEFAULT_PRECISION)


def load_named(path: Path) -> LatencyTable:
    """Read one table that is what its file's name says.

    Raises:
        NotFound: no such file.
        InputError: the file is not a valid table, or of another device, space or precision.
    """
    table = load(path)
    if path.name != file_name(table):
        raise InputError(
            f"{path.name}: expected a table of the device and space in its name, got device "
            f"{table.device!r} and space {table.space!r} at {table.conditions.precision}; rename "
            "the file"
        )
    return table


def load(path: Path) -> LatencyTable:
    """Read one table.

    Raises:
        NotFound: no such file.
        InputError: the file is not a valid table, naming file, place, expected and got.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path.name}: expected at most {MAX_BYTES} bytes, got {size}")
        return table_from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"latency table {path} does not exist") from error
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def save(table: LatencyTable, path: Path) -> None:
    """Write one table; a reader sees the old file or the new one, never a part."""
    write_atomically(path, table_to_json(table).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` in one step, also if the machine stops halfway."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are readable by their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

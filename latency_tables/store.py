"""Where latency tables are kept: one JSON file for each device and space.

Built-in tables are in `latency_tables/data/`, the user's in `$SUBNET_HOME/devices/`. A file is
named `{device}@{space}.json`; neither name can contain "@".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from latency_tables import codec
from latency_tables.codec import parse_profile
from latency_tables.table import LatencyTable
from models.errors import Conflict, InputError, NotFound

__all__ = ["BUILTIN", "Device", "DeviceRegistry", "load", "parse_profile", "save"]

BUILTIN = Path(__file__).parent / "data"
MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its tables by name of space."""

    name: str
    tables: Mapping[str, LatencyTable]

    def table(self, space: str) -> LatencyTable:
        """The table for `space`.

        Raises:
            NotFound: the device was not measured for that space.
        """
        if space not in self.tables:
            raise NotFound.named(f"space of device {self.name!r}", space, self.tables)
        return self.tables[space]


class DeviceRegistry:
    """Devices by name: the built-in ones and those in a user's folder.

    Nothing is cached, so a table added by another process is seen by the next call.
    """

    def __init__(self, home: Path, *, builtin: Path = BUILTIN) -> None:
        """`home` is the state folder; it need not exist yet."""
        self._builtin = builtin
        self._own = home / "devices"

    def names(self) -> list[str]:
        """Every device's name, sorted."""
        return sorted({device for device, _ in self._files()})

    def get(self, device: str) -> Device:
        """A device with all its tables.

        Raises:
            NotFound: no such device.
            InputError: one of its files is not a valid table, naming the file.
        """
        paths = {space: path for (name, space), path in self._files().items() if name == device}
        if not paths:
            raise NotFound.named("device", device, self.names())
        tables = {space: self._load(path) for space, path in sorted(paths.items())}
        return Device(device, MappingProxyType(tables))

    def add(self, table: LatencyTable, *, replace: bool = False) -> Path:
        """Keep `table` in the user's folder; returns its file.

        Raises:
            Conflict: the device has a table for that space and `replace` is false, or the
                table there is a built-in one.
        """
        file = f"{table.device}@{table.space}.json"
        taken = f"device {table.device!r} has a table for space {table.space!r}"
        if (self._builtin / file).exists():
            raise Conflict(f"{taken} that is built in: choose another name")
        if (self._own / file).exists() and not replace:
            raise Conflict(f"{taken}: ask for it to be replaced, or choose another name")
        self._own.mkdir(parents=True, exist_ok=True)
        save(table, self._own / file)
        return self._own / file

    def _files(self) -> dict[tuple[str, str], Path]:
        """(device, space) -> file. Other files in the folders are left alone."""
        found: dict[tuple[str, str], Path] = {}
        for folder in (self._builtin, self._own):
            for path in sorted(folder.glob("*@*.json")):
                device, _, space = path.stem.partition("@")
                found.setdefault((device, space), path)
        return found

    @staticmethod
    def _load(path: Path) -> LatencyTable:
        table = load(path)
        if path.stem != f"{table.device}@{table.space}":
            raise InputError(
                f"{path.name}: expected a table of the device and space in its name, got device "
                f"{table.device!r} and space {table.space!r}; rename the file"
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
        return codec.from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"latency table {path} does not exist") from error
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def save(table: LatencyTable, path: Path) -> None:
    """Write one table; a reader sees the old file or the new one, never a part."""
    write_atomically(path, codec.to_json(table).encode())


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

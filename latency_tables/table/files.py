"""Tables as files, one a device, space and precision (`latency_tables.table.names`)."""

from __future__ import annotations

from pathlib import Path

from latency_tables.table.codec import table_from_json
from latency_tables.table.names import file_name
from latency_tables.table.table import LatencyTable, table_to_json
from models.errors import InputError, NotFound
from models.machine import write_atomically

MAX_BYTES = 16 * 2**20


def load_named(path: Path) -> LatencyTable:
    """Read one table that is what its file's name says.

    Raises:
        NotFound: no such file.
        InputError: the file is not a valid table, or of another device, space or precision.
    """
    table = load(path)
    if path.name != file_name(table.device, (table.space, table.conditions.precision)):
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

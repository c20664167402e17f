"""What tables are told apart by, also in the names of their files.

A file is named `{device}@{space}.json` at fp32, `{device}@{space}@{precision}.json` at another
precision. No name can contain "@".
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_PRECISION = "fp32"

TableKey = tuple[str, str]
"""Space and precision: what a device can have one table for."""


def file_name(device: str, key: TableKey) -> str:
    """What the file of a device's table is called."""
    space, precision = key
    tail = "" if precision == DEFAULT_PRECISION else f"@{precision}"
    return f"{device}@{space}{tail}.json"


def read_name(path: Path) -> tuple[str, TableKey]:
    """Device, and space and precision, of which a file's name says that it is."""
    device, _, rest = path.stem.partition("@")
    space, _, precision = rest.partition("@")
    return device, (space, precision or DEFAULT_PRECISION)

"""What tables are told apart by, also in the names of their files.

A file is named `{device}@{space}.json` at fp32, `{device}@{space}@{precision}.json` at another
precision. No name can contain "@".
"""

from __future__ import annotations

import json
from pathlib import Path

DEFAULT_PRECISION = "fp32"

HEAD_CHARS = 16_384
"""Of a table's text, more than everything that comes before its entries."""

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


def runtime_in(head: str) -> str | None:
    """The runtime that the first `HEAD_CHARS` of a table's text state, without reading its entries,
    which come last; None if they do not."""
    _, found, rest = head.partition('"conditions":')
    try:
        conditions, _ = json.JSONDecoder().raw_decode(rest.lstrip()) if found else ({}, 0)
    except ValueError:
        return None
    runtime = conditions.get("runtime")
    return runtime if isinstance(runtime, str) else None

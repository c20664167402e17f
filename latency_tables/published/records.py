"""The records in `data/shipped.json`: what is known of each published device, and of which spaces.

`latency_tables.published.shipped` makes tables of them. This file imports nothing slow, so that
devices can be listed at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.errors import InputError

FILE = "shipped.json"
SCHEMA_VERSION = 1


def shipped_tables(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The record of each (device, space) in a folder of shipped figures; empty without a file."""
    path = folder / FILE
    return dict(_read(path)) if path.exists() else {}


@lru_cache
def _read(path: Path) -> tuple[tuple[tuple[str, str], dict[str, Any]], ...]:
    content = json.loads(path.read_text())
    if content["schema_version"] != SCHEMA_VERSION:
        raise InputError(f"{path.name}: expected version {SCHEMA_VERSION}")
    return tuple(_flattened(content["tables"]))


def _flattened(tables: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for table in tables:
        for space in table["spaces"]:
            yield (table["device"], space), table

"""JSON documents for programs, CSV for spreadsheets and tables for people, on stdout."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer


def print_json(document: Any) -> None:
    """Print one document; with `--json` a command prints nothing else to stdout."""
    typer.echo(json.dumps(document, allow_nan=False))


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as CSV for spreadsheets: moments in ISO 8601, objects as JSON, nothing for what
    is not known."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row.get(name)) for name in columns])


def _csv_cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool | Mapping):
        return json.dumps(value)
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in aligned columns, numbers to the right; nothing is cut."""
    lines = [tuple(columns), *(tuple(str(cell) for cell in row) for row in rows)]
    cells = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in cells]
    numeric = [len(column) > 1 and all(map(_is_number, column[1:])) for column in cells]
    for line in lines:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        typer.echo("  ".join(padded).rstrip())


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"unknown|[+-]?[\d.]+(e[+-]?\d+)?%?", cell) is not None


def short(value: object) -> str:
    """A number as tables show it."""
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def stdout_is_utf8() -> bool:
    """Whether lines, bars and braille can be printed."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"

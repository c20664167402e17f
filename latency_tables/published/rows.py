"""Rows of a foreign table: a name and a time each, and where both stand in a file."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from latency_tables.table import LayerLatency
from models.errors import InputError, NotFound, show_value

UNITS_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3, "ns": 1e-6}
UNITS = ("ms", "s", "us")
"""Those that a user may state; a header may also say ns."""
MAX_FILE_BYTES = 8 << 20
MAX_FILES = 512
MAX_ROWS = 100_000
MAX_NAME = 500
SHOWN_NAME = 200
MAX_DIGITS = 400
"""A longer number counts as infinite."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)
_NO_NUMBER = re.compile(r"[+-]?\.?(nan|inf(inity)?)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row, or one entry."""

    line: int
    """Of its file, from 1."""
    name: str
    time: LayerLatency | None
    """None if the row has none."""
    resolution: int | None = None
    """Of the networks whose layer it is, if the row says it."""
    details: str = ""
    """Other columns that describe the layer, in the words of a name."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of one file."""

    name: str
    rows: tuple[Row, ...]

    def at(self, row: Row) -> str:
        """Where a row stands."""
        return f"{self.name}: line {row.line}"


def text_of(path: Path) -> str:
    """The text of a file, with newlines as \\n.

    Raises:
        NotFound: no such file.
        InputError: it is too large, or no text.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path.name}: expected at most {MAX_FILE_BYTES} bytes, got {size}")
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"{path}: expected a file, found none") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: expected text in UTF-8, found other bytes") from error
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise InputError(f"{path.name}: expected text, found a binary file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def sniff(path: Path) -> str | None:
    """The text of a file; None if it cannot be read as text."""
    try:
        return text_of(path) if path.is_file() else None
    except (InputError, ValueError):  # ValueError: a NUL in the path
        return None


def files_of(path: Path, *suffixes: str) -> list[Path]:
    """`path` itself if it is a file, else the files of a folder with these suffixes, by name.

    Raises:
        InputError: there are too many.
    """
    if not path.is_dir():
        return [path]
    found = sorted(
        item
        for item in path.iterdir()
        if item.suffix.lower() in suffixes and not item.name.startswith(".") and item.is_file()
    )
    if len(found) > MAX_FILES:
        raise InputError(f"{path.name}: expected at most {MAX_FILES} files, got {len(found)}")
    return found


def shown(name: str) -> str:
    """A name of a file's as messages show it."""
    return name[:SHOWN_NAME] if name.isprintable() else ascii(name[:SHOWN_NAME])


def number_of(text: str) -> float | None:
    """The number that a text is, in ASCII digits with a point; NaN and infinity are numbers."""
    text = text.strip()
    if not (_NUMBER.fullmatch(text) or _NO_NUMBER.fullmatch(text)):
        return None
    if len(text) > MAX_DIGITS:
        return math.inf
    return float(text.replace(".nan", "nan").replace(".inf", "inf"))


def latency_of(
    where: str, unit_ms: float, time: float, std: float = 0.0, count: float = 1
) -> LayerLatency:
    """A row's figures in milliseconds. Foreign formats have one time, which counts as the median.

    Raises:
        InputError: naming the place and the figure that cannot be.
    """
    for name, value in (("mean", time), ("count", count), ("std", std)):
        least = value >= 0 if name == "std" else value > 0
        if not (least and value < float("inf")):
            raise InputError(
                f"{where}: {name}: expected a positive number, got {show_value(value)}"
            )
    if count < 1:
        raise InputError(f"{where}: count: expected at least 1, got {count:g}")
    ms = time * unit_ms
    try:
        return LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=std * unit_ms, count=int(count))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def checked(path: Path, sheets: Iterator[Sheet]) -> list[Sheet]:
    """All sheets, if they have rows and not too many.

    Raises:
        InputError: they have not.
    """
    kept, rows = [], 0
    for sheet in sheets:
        rows += len(sheet.rows)
        if rows > MAX_ROWS:
            raise InputError(f"{sheet.name}: expected at most {MAX_ROWS} rows in all")
        kept.append(replace(sheet, rows=tuple(sheet.rows)))
    if not rows:
        raise InputError(f"{path.name}: expected entries by layer, found none")
    return kept

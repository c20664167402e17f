"""Tables as CSV: a column of names and one of times, in any order, with or without a header.

The delimiter is found; so is the unit, where the header or a column of units says it (`latency_us`,
`Average Time (ms)`). `devices keys` writes this format, to be filled in.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_tables.published.ofa_yaml import is_ofa_lut
from latency_tables.published.rows import (
    UNITS_MS,
    Row,
    Sheet,
    checked,
    files_of,
    latency_of,
    number_of,
    shown,
    sniff,
    text_of,
)
from latency_tables.table import LayerLatency
from models.errors import InputError, show_value

SUFFIXES = (".csv", ".tsv")
DELIMITERS = "\t;|,"
"""In order of preference: what comes later may stand inside a cell."""
SAMPLE_LINES = 60
MAX_COLUMNS = 200

_UNITS = {
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "µs", "μs", "usec", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
}
_TIMES = (("median", "p50"), ("mean", "avg", "average"), ("latency",), ("time", "duration"))
"""Words of a header above times, the better first."""
_NOT_TIMES = {"min", "minimum", "max", "maximum", "std", "stdev", "stddev", "sd", "var", "variance"}
_NOT_TIMES |= {"p90", "p95", "p99", "total", "sum", "count", "runs", "percent", "share", "number"}
_RESOLUTIONS = {"resolution", "inputresolution", "imagesize", "imgsize", "res", "r"}
_NAMES = (("key",), ("layer", "block", "op", "operator", "node", "module"), ("name",), ("type",))
_DETAILS = re.compile(
    r"in|input|out|output|(input|output)_(shape|size)|mid|mid_channels|expand|expand_ratio|e|ratio"
    r"|kernel|kernel_size|ks|k|stride|s|idskip|skip|se|use_se|hs|act|activation"
)

Line = tuple[int, list[str]]
"""Number from 1, and cells."""


def is_csv(path: Path) -> bool:
    """Whether a file is text in columns, or a folder has CSV files."""
    if path.is_dir():
        return any(item.suffix.lower() in SUFFIXES for item in path.iterdir())
    text = sniff(path)
    if text is None or is_ofa_lut(path):
        return False
    try:
        return any(len(cells) > 1 for _, cells in split(path.name, text[: 1 << 16]))
    except InputError:
        return path.suffix.lower() in SUFFIXES


def read_csv(path: Path, unit: str | None) -> list[Sheet]:
    """The rows of a file, or of every CSV file of a folder.

    Args:
        unit: of the times; None: what the header says, else milliseconds.

    Raises:
        InputError: naming the file and what in it is wrong.
    """
    files = files_of(path, *SUFFIXES)
    return checked(path, (_read(file, unit) for file in files))


def split(file: str, text: str) -> list[Line]:
    """The cells of every line that has some; lines from # on are comments.

    Raises:
        InputError: it cannot be split.
    """
    delimiter = _delimiter(text)
    lines: list[Line] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        start = 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if len(cells) > MAX_COLUMNS:
                raise InputError(f"{file}: line {line}: expected at most {MAX_COLUMNS} columns")
            if any(cells) and not cells[0].startswith("#"):
                lines.append((line, cells))
    except csv.Error as error:
        raise InputError(f"{file}: line {reader.line_num}: not CSV: {error}") from error
    return lines


def _delimiter(text: str) -> str:
    """What splits most lines into the same number of cells."""
    lines = [line for line in text.split("\n", SAMPLE_LINES)[:SAMPLE_LINES] if line.strip()]
    best, most = ",", 0
    for delimiter in DELIMITERS:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        ((columns, count),) = Counter(len(cells) for cells in rows).most_common(1) or [(1, 0)]
        if columns > 1 and count > most:
            best, most = delimiter, count
    return best


@dataclass(frozen=True, slots=True)
class _Columns:
    """Positions of the columns that are read."""

    name: int
    time: int
    unit: str | None
    std: int | None = None
    count: int | None = None
    resolution: int | None = None
    units: int | None = None
    details: tuple[tuple[str, int], ...] = ()


def _read(path: Path, unit: str | None) -> Sheet:
    lines = split(path.name, text_of(path))
    if not lines:
        raise InputError(f"{path.name}: expected rows of names and times, found none")
    has_header = not any(number_of(cell) is not None for cell in lines[0][1])
    width = len(lines[0][1])
    for line, cells in lines if has_header else ():
        if any(cells[width:]):
            raise InputError(
                f"{path.name}: line {line}: expected {width} cells as in the header, got "
                f"{len(cells)}: write a decimal point, not a comma, and names with commas in quotes"
            )
    if has_header:
        columns = _by_header(path.name, lines[0][1], lines[1:])
    else:
        columns = _by_content(path.name, lines)
    if unit is not None and columns.unit not in (None, unit):
        raise InputError(
            f"{path.name}: the header says that times are in {columns.unit}, --unit says {unit}"
        )
    usual = columns.unit or unit or "ms"
    rows = (_row(path.name, *line, columns, usual) for line in lines[has_header:])
    return Sheet(path.name, tuple(rows))


def _by_header(file: str, header: list[str], lines: list[Line]) -> _Columns:
    words = [_words(cell) for cell in header]
    found = [
        [i for i, w in enumerate(words) if set(better) & set(w) and not _NOT_TIMES & set(w)]
        for better in _TIMES
    ]
    found.append([i for i, w in enumerate(words) if w and set(w) <= set(_UNITS)])
    times = next((columns for columns in found if columns), [])
    name = next((i for kind in _NAMES for i, w in enumerate(words) if set(kind) & set(w)), None)
    if len(times) > 1:
        shown = " and ".join(show_value(header[i]) for i in times[:4])
        raise InputError(f"{file}: expected one column of times, got {shown}: leave one of them")
    if not times or name is None or name == times[0]:
        guessed = _by_content(file, lines)
        name = guessed.name if name is None or name == guessed.time else name
        times = times or [guessed.time]

    def first(*wanted: str) -> int | None:
        return next(
            (i for i, w in enumerate(words) if set(wanted) & set(w) and i != times[0]), None
        )

    return _Columns(
        name=name,
        time=times[0],
        unit=next((_UNITS[w] for w in words[times[0]] if w in _UNITS), None),
        std=first("std", "stdev", "stddev", "sd"),
        count=first("count", "runs", "samples"),
        resolution=next((i for i, w in enumerate(words) if _RESOLUTIONS & {"".join(w)}), None),
        units=next((i for i, w in enumerate(words) if w in (["unit"], ["units"])), None),
        details=tuple(
            (plain, i)
            for i, cell in enumerate(header)
            if i != name and _DETAILS.fullmatch(plain := cell.lower().replace(" ", "_"))
        ),
    )


def _by_content(file: str, lines: list[Line]) -> _Columns:
    """Without a header that helps: the column of texts, and the only one of numbers."""
    width = max((len(cells) for _, cells in lines), default=0)
    numeric = [
        column
        for column in range(width)
        if all(len(c) > column and number_of(c[column]) is not None for _, c in lines)
    ]
    texts = [
        column
        for column in range(width)
        if all(len(c) > column and c[column] and number_of(c[column]) is None for _, c in lines)
    ]
    if len(numeric) != 1 or not texts:
        raise InputError(
            f"{file}: expected a column of names and one of times, told apart by a header such as "
            "`name,latency_ms`, with a decimal point and no decimal comma"
        )
    return _Columns(name=texts[0], time=numeric[0], unit=None)


def _words(header: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9µμ]+", header.lower()) if word]


def _row(file: str, line: int, cells: Sequence[str], columns: _Columns, usual: str) -> Row:
    def cell(column: int | None) -> str:
        return cells[column] if column is not None and column < len(cells) else ""

    name, resolution = cell(columns.name), number_of(cell(columns.resolution))
    where = f"{file}: line {line}: {shown(name)}"
    unit = cell(columns.units).lower()
    if unit and unit not in _UNITS:
        raise InputError(f"{where}: unit: expected ms, us, ns or s, got {show_value(unit)}")
    unit_ms = UNITS_MS[_UNITS.get(unit, usual)]
    time, std, count = (cell(column) for column in (columns.time, columns.std, columns.count))
    return Row(
        line,
        name,
        _time(where, unit_ms, time, std, count) if time else None,
        int(resolution) if resolution is not None and 0 < resolution < 1e5 else None,
        "-".join(f"{field}:{cell(i)}" for field, i in columns.details if cell(i)),
    )


def _time(where: str, unit_ms: float, time: str, std: str, count: str) -> LayerLatency:
    figures = []
    for what, text in (("mean", time), ("std", std or "0"), ("count", count or "1")):
        if (number := number_of(text)) is None:
            comma = ": write a decimal point" if re.fullmatch(r"[0-9.]*,[0-9]+", text) else ""
            got = show_value(text)
            raise InputError(f"{where}: {what}: expected a number, got {got}{comma}")
        figures.append(number)
    return latency_of(where, unit_ms, *figures)

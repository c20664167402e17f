"""Tables in foreign formats: a reader is found by what a file or folder contains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from latency_tables.published.ai_hub import is_ai_hub, read_ai_hub_layers
from latency_tables.published.assembly import ImportedTable, Mapped, assemble
from latency_tables.published.csv_table import is_csv, read_csv
from latency_tables.published.ofa_yaml import is_ofa_lut, read_ofa_lut
from latency_tables.published.rows import UNITS, Sheet
from latency_tables.table import LatencyTable
from models.errors import InputError, NotFound, show_value
from models.registry import Registry
from models.spaces import SearchSpace


class ReadTable(Protocol):
    """Reads a table of a device for a space."""

    def __call__(
        self, path: Path, space: SearchSpace, /, *, device: str, source: str, unit: str
    ) -> LatencyTable:
        """The table.

        Args:
            source: who measured it, in a sentence.
            unit: of the file's figures, where the format does not say it: "ms", "s" or "us".

        Raises:
            InputError: naming the file and what in it is wrong.
        """
        ...


ReadRows = Callable[[Path, SearchSpace, str | None], list[Sheet]]
"""Reads names and times; the unit is None if the user states none."""


class _Format(NamedTuple):
    reads: Callable[[Path], bool]
    read: ReadTable | None = None
    rows: ReadRows | None = None


_FORMATS: Registry[_Format] = Registry(
    "table format",
    {
        "CSV files": _Format(is_csv, rows=lambda path, space, unit: read_csv(path, unit)),
        "YAML or JSON files": _Format(
            is_ofa_lut, rows=lambda path, space, unit: read_ofa_lut(path, unit)
        ),
        "profiles of Qualcomm AI Hub": _Format(
            is_ai_hub, rows=lambda path, space, unit: read_ai_hub_layers(path, space)
        ),
    },
)


def register_table_format(name: str, reads: Callable[[Path], bool], read: ReadTable) -> None:
    """Make a format known. What is registered later is asked earlier, before the built-in ones.

    Args:
        name: what it is, with its article, such as "a CSV file of layers".
        reads: whether a path holds this format; it looks at the content and raises nothing.

    Raises:
        InputError: if another format has that name.
    """
    _FORMATS.register(name, _Format(reads, read))


def unregister_table_format(name: str) -> None:
    """Remove a format; there may be none of that name."""
    _FORMATS.unregister(name)


def read_foreign_table(
    path: Path,
    space: SearchSpace,
    *,
    device: str,
    source: str,
    unit: str | None = None,
    mapped: Mapped | None = None,
) -> ImportedTable:
    """Read the table that `path` holds in any registered format.

    Args:
        source: who measured it, in a sentence.
        unit: of the figures, "ms", "s" or "us"; None: what the files say, else ms.
        mapped: our keys by names in the files that cannot be understood.

    Raises:
        NotFound: it holds none.
        IncompleteTable: layers of the space are missing.
        InputError: naming the file and what in it is wrong.
    """
    if unit not in (None, *UNITS):
        raise InputError(f"unit: expected one of {list(UNITS)}, got {show_value(unit)}")
    if not path.exists():
        raise NotFound(f"{str(path)!r}: expected a file or folder, found none")
    for name, known in reversed(_FORMATS.items()):
        if not known.reads(path):
            continue
        if known.rows is not None:
            sheets = known.rows(path, space, unit)
            return assemble(sheets, space, device=device, source=source, mapped=mapped)
        if mapped:
            raise InputError(f"{path.name}: a mapping cannot be used with {name}")
        assert known.read is not None
        return ImportedTable(
            known.read(path, space, device=device, source=source, unit=unit or "ms")
        )
    raise NotFound(f"{str(path)!r}: expected {' or '.join(_FORMATS)}, found none")

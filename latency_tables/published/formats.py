"""Tables in foreign formats: a reader is found by what a file or folder contains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from latency_tables.published.ofa_yaml import import_ofa_lut, is_ofa_lut
from latency_tables.table import LatencyTable
from models.errors import NotFound
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


class _Format(NamedTuple):
    reads: Callable[[Path], bool]
    read: ReadTable


_FORMATS: Registry[_Format] = Registry("table format")


def register_table_format(name: str, reads: Callable[[Path], bool], read: ReadTable) -> None:
    """Make a format known.

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


def import_table(
    path: Path, space: SearchSpace, *, device: str, source: str, unit: str = "ms"
) -> LatencyTable:
    """Read the table that `path` holds in any registered format.

    Raises:
        NotFound: it holds none.
        InputError: naming the file and what in it is wrong.
    """
    for known in _FORMATS.values():
        if known.reads(path):
            return known.read(path, space, device=device, source=source, unit=unit)
    raise NotFound(f"{str(path)!r}: expected {' or '.join(_FORMATS)}, found none")


register_table_format("a folder of YAML files", is_ofa_lut, import_ofa_lut)

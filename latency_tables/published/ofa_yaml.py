"""The latency tables of Once-for-All as YAML or JSON: one file a resolution, or one for all.

An entry is `NAME: {count, mean, std}`, or `var` in place of `std`, or a plain number. Entries may
stand under a resolution (`224: {NAME: ...}`). Formats differ in what `expand` of a name means;
`matching` finds it out. Format: mit-han-lab/once-for-all, tag v0.1, and its descendants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from latency_tables.published.assembly import assemble
from latency_tables.published.rows import (
    MAX_ROWS,
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
from latency_tables.table import LatencyTable, LayerLatency
from models.errors import InputError, NotFound, show_value
from models.spaces import SearchSpace

SUFFIXES = (".yaml", ".yml", ".json")
DEPTH = 3
"""Of mappings around the entries."""
MAX_EVENTS = 10 * MAX_ROWS
_FIRST_LINE = re.compile(r"\{|[^,;\t|]*:(\s|$)")
_RESOLUTION = re.compile(r"[a-z_]*?([0-9]{1,5})(?:x\1)?(?:_lookup_table)?(?:\.ya?ml)?", re.ASCII)
_TIME = re.compile(r"(?:mean|avg|average|median|p50|latency|time|value)(?:_(ms|us|ns|s))?")
_OTHERS = {
    "std": ("std", "std_ms", "stdev", "stddev"),
    "var": ("var", "variance"),
    "count": ("count", "n", "runs", "samples"),
}
NAMES = ("name", "key", "layer", "block", "op")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_ofa_lut(path: Path) -> bool:
    """Whether a file, or a file of a folder, is YAML or JSON."""
    if path.is_dir():
        return any(item.suffix.lower() in SUFFIXES for item in path.iterdir())
    text = sniff(path)
    if text is None or path.suffix.lower() in SUFFIXES:
        return text is not None
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and line != "---" and line[0] != "#"), "")
    return _FIRST_LINE.match(first) is not None


def import_ofa_lut(
    path: Path, space: SearchSpace, *, device: str, source: str, unit: str = "ms"
) -> LatencyTable:
    """Read a file, or every file of a folder, into one table.

    Args:
        source: who measured it, in a sentence.
        unit: of the files' figures: "ms" as published, "s" or "us".

    Raises:
        NotFound: there is no such file or folder, or none of this format in it.
        InputError: naming the file and the wrong entry, or the layers that are missing.
    """
    if unit not in UNITS_MS:
        raise InputError(f"unit: expected one of {sorted(UNITS_MS)}, got {unit!r}")
    if not (path.exists() and is_ofa_lut(path)):
        raise NotFound(f"{str(path)!r}: expected YAML files, found none")
    return assemble(read_ofa_lut(path, unit), space, device=device, source=source).table


def read_ofa_lut(path: Path, unit: str | None) -> list[Sheet]:
    """The entries of a file, or of every file of a folder.

    Raises:
        InputError: naming the file and the wrong entry.
    """
    files = files_of(path, *SUFFIXES)
    return checked(path, (_read(file, UNITS_MS[unit or "ms"]) for file in files))


def _read(path: Path, unit_ms: float) -> Sheet:
    text = text_of(path)
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON, which may be indented by tabs
    try:
        root = _compose(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path.name}: not a YAML file of plain values ({reason})") from error
    if not isinstance(root, yaml.CollectionNode) or not root.value:
        raise InputError(f"{path.name}: expected entries by layer, found none")
    reader = _Reader(path.name, unit_ms)
    return Sheet(path.name, tuple(reader.rows(root, None, 0)))


def _compose(text: str) -> yaml.Node | None:
    """The nodes of a document. PyYAML's own composer crashes on a hundred thousand brackets.

    Raises:
        yaml.YAMLError: it is no YAML, too long, too deep, or refers to itself.
    """
    inside: list[list[yaml.Node]] = [[]]
    starts: list[yaml.CollectionStartEvent] = []
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if count > MAX_EVENTS:
            raise yaml.YAMLError(f"more than {MAX_ROWS} entries")
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"write out what *{event.anchor} refers to")
        if isinstance(event, yaml.ScalarEvent):
            inside[-1].append(yaml.ScalarNode("", event.value, event.start_mark))
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(inside) > DEPTH + 2:
                raise yaml.YAMLError("nested too deep")
            inside.append([])
            starts.append(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            values, start = inside.pop(), starts.pop()
            if isinstance(start, yaml.MappingStartEvent):
                pairs = list(zip(values[::2], values[1::2], strict=True))
                inside[-1].append(yaml.MappingNode("", pairs, start.start_mark))
            else:
                inside[-1].append(yaml.SequenceNode("", values, start.start_mark))
    if len(inside[0]) > 1:
        raise yaml.YAMLError("expected one document")
    return inside[0][0] if inside[0] else None


class _Reader:
    """Goes through the nodes of one file. Nothing is constructed, so no tag acts."""

    def __init__(self, file: str, unit_ms: float) -> None:
        self._file, self._unit_ms = file, unit_ms

    def rows(self, node: yaml.Node, resolution: int | None, depth: int) -> Iterator[Row]:
        """The entries of a mapping or list, and of mappings in it."""
        if isinstance(node, yaml.SequenceNode):
            yield from self._listed(node, resolution)
            return
        for key, value in node.value:
            name, line = _text(key), key.start_mark.line + 1
            if isinstance(value, yaml.MappingNode) and not _is_entry(value):
                if depth == DEPTH or not value.value:
                    where = f"{self._file}: line {line}: {shown(name)}"
                    raise InputError(f"{where}: expected count, mean and std, got an object")
                inner = _RESOLUTION.fullmatch(name.strip().lower())
                within = int(inner[1]) if inner else resolution
                yield from self.rows(value, within, depth + 1)
            elif isinstance(value, yaml.SequenceNode) and depth < DEPTH and _holds_entries(value):
                yield from self._listed(value, resolution)
            else:
                yield Row(line, name, self._time(name, line, value), resolution)

    def _listed(self, node: yaml.SequenceNode, resolution: int | None) -> Iterator[Row]:
        for item in node.value:
            line = item.start_mark.line + 1
            fields = _fields(item) if isinstance(item, yaml.MappingNode) else {}
            name = next((_text(fields[n]) for n in NAMES if n in fields), None)
            if name is None:
                where = f"{self._file}: line {line}"
                raise InputError(f"{where}: expected an object with name and mean in the list")
            stated = number_of(_text(fields["resolution"])) if "resolution" in fields else None
            own = int(stated) if stated is not None and 0 < stated < 1e5 else resolution
            yield Row(line, name, self._time(name, line, item), own)

    def _time(self, name: str, line: int, node: yaml.Node) -> LayerLatency | None:
        """The time of an entry; None if it is a text that is no number."""
        where = f"{self._file}: line {line}: {shown(name)}"
        if isinstance(node, yaml.ScalarNode):
            number = number_of(node.value)
            return None if number is None else latency_of(where, self._unit_ms, number)
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{where}: expected a number, or count, mean and std, got a list")
        fields = _fields(node)
        times = [match for field in fields if (match := _TIME.fullmatch(field))]
        if not times:
            raise InputError(f"{where}: expected count, mean and std, got {sorted(fields)[:3]}")
        unit_ms = UNITS_MS[times[0][1]] if times[0][1] else self._unit_ms
        mean = self._number(where, "mean", fields[times[0][0]])
        figures = {
            kind: self._number(where, kind, fields[name])
            for kind, names in _OTHERS.items()
            for name in [n for n in names if n in fields][:1]
        }
        std = figures.get("std", math.sqrt(max(figures.get("var", 0.0), 0.0)))
        return latency_of(where, unit_ms, mean, std, figures.get("count", 1))

    def _number(self, where: str, what: str, node: yaml.Node) -> float:
        text = _text(node)
        if (number := number_of(text)) is None:
            got = show_value(text)
            raise InputError(f"{where}: {what}: expected a positive number, got {got}")
        return number


def _text(node: yaml.Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _fields(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    return {_text(key).strip().lower(): value for key, value in node.value}


def _is_entry(node: yaml.MappingNode) -> bool:
    fields = _fields(node)
    others = {name for names in _OTHERS.values() for name in names}
    return any(
        isinstance(value, yaml.ScalarNode) and (name in others or _TIME.fullmatch(name))
        for name, value in fields.items()
    )


def _holds_entries(node: yaml.SequenceNode) -> bool:
    return bool(node.value) and isinstance(node.value[0], yaml.MappingNode)

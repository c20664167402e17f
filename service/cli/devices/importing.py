"""Tables of layers in others' formats, for `devices import`; what became of their rows is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from models.errors import InputError, NotFound
from service.cli.common import print_warnings
from service.cli.devices.listing import print_device, print_findings
from service.cli.output import print_json, progress_bar
from service.cli.source import open_source

if TYPE_CHECKING:
    from latency_tables.published import ImportedTable, UnmappedRow
    from latency_tables.table import Finding
    from models.spaces import SearchSpace
    from service.catalog import Catalog

TablePath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE_OR_FOLDER]",
        help="A table of layers: YAML, JSON or CSV as others publish it, or as `devices keys` "
        "prints it.",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(help="Unit of the times: ms, s or us. Default: what a header says, else ms."),
]
Mapping = Annotated[
    Path | None,
    typer.Option(help="JSON or CSV from names in the table to keys as `devices keys` prints them."),
]
Resolutions = Annotated[
    list[int] | None,
    typer.Option("--resolution", help="Take these input sizes alone; repeatable."),
]
Precision = Annotated[str, typer.Option(help="Of a table of layers: fp32, fp16, bf16 or int8.")]

STEPS = ("us", "ms", "s")
SHOWN_ROWS = 10
"""Rows that are listed on the screen; `--json` has all."""


class Request(NamedTuple):
    """What is imported, in the words of the command."""

    name: str
    space: str
    path: Path
    source: str
    unit: str | None
    mapping: Path | None
    resolutions: list[int] | None
    precision: str


def find_space(known: Catalog, name: str) -> SearchSpace:
    """The space of a supernet, a space by its own name, or that of a TOML file.

    Raises:
        NotFound: there is none.
        InputError: the file is not a space.
    """
    if name.endswith(".toml"):
        from models.spaces import load_space

        return load_space(Path(name))
    try:
        return known.supernets.get(name).space
    except NotFound:
        if (space := known.spaces().get(name)) is None:
            raise
        return space


def import_foreign(known: Catalog, request: Request, *, replace: bool, json: bool) -> None:
    """Read a table, keep it, and show it with every row that it does not have.

    Raises:
        InputError: naming the file and what in it is wrong, or the layers that are missing.
        BadTable: it cannot be right; names the unit that would explain it.
    """
    from latency_tables.published import IncompleteTable
    from latency_tables.table import BadTable, check

    space = find_space(known, request.space)
    if request.resolutions:
        space = space.at(request.resolutions)
    try:
        with progress_bar(f"reading {request.path.name}"):
            imported = _read(request, space)
    except IncompleteTable as error:
        if json:
            missing, unmapped = list(error.missing), _rows(error.unmapped)
            print_json({"name": request.name, "missing": missing, "unmapped": unmapped})
        else:
            _print_unmapped(error.unmapped)
            _print_some("missing", error.missing)
        raise
    try:
        findings = check(imported.table, space)
        known.keep_device(imported.table, replace=replace)
    except BadTable as error:
        if hint := _unit_hint(error.findings, request.unit):
            raise InputError(f"{error} ({hint})") from error
        raise
    hints = [hint] if (hint := _unit_hint(findings, request.unit)) else []
    _show(request.name, imported, [*imported.warnings, *hints], json=json)


def _read(request: Request, space: SearchSpace) -> ImportedTable:
    from latency_tables.published import read_foreign_table, read_mapping

    mapped = None if request.mapping is None else read_mapping(request.mapping)
    imported = read_foreign_table(
        request.path,
        space,
        device=request.name,
        source=request.source,
        unit=request.unit,
        mapped=mapped,
    )
    table = imported.table
    if request.precision != table.conditions.precision:
        conditions: Any = dataclasses.replace(
            table.conditions,
            precision=request.precision,  # type: ignore[arg-type]
        )
        table = dataclasses.replace(table, conditions=conditions)
    return dataclasses.replace(imported, table=table)


def _unit_hint(findings: Iterable[Finding], unit: str | None) -> str | None:
    """The option for the unit that a finding suspects: one step from the one that was read."""
    for finding in findings:
        if finding.kind == "unit":
            step = -1 if "microseconds" in finding.text else 1
            place = STEPS.index(unit or "ms") + step
            if 0 <= place < len(STEPS):
                return f"if the times are in {STEPS[place]}, import them with --unit {STEPS[place]}"
    return None


def _show(name: str, imported: ImportedTable, warnings: list[str], *, json: bool) -> None:
    with open_source(None) as source:
        device = source.device(name)
    if json:
        own = (imported.table.space, imported.table.conditions.precision)
        found = [f.detail for f in device.lint if (f.space, f.precision) == own]
        rows = _rows(imported.unmapped)
        print_json(
            {**device.model_dump(mode="json"), "warnings": [*warnings, *found], "unmapped": rows}
        )
    else:
        print_device(device)
        _print_unmapped(imported.unmapped)
    print_warnings(warnings)
    print_findings(device)


def _rows(rows: Iterable[UnmappedRow]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(row) for row in rows]


def _print_unmapped(rows: tuple[UnmappedRow, ...]) -> None:
    texts = [f"{row.file}: line {row.line}: {row.name!r}: {row.why}" for row in rows]
    _print_some("not taken", texts)


def _print_some(what: str, texts: Sequence[str]) -> None:
    for text in texts[:SHOWN_ROWS]:
        typer.echo(f"{what}: {text}", err=True)
    if (more := len(texts) - SHOWN_ROWS) > 0:
        typer.echo(f"{what}: {more} more, which --json lists", err=True)

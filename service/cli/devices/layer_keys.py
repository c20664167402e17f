"""`devices keys`: every layer of a space, as a table to fill in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import Json, catalog, check_out
from service.cli.devices.importing import find_space
from service.cli.output import print_json


def keys(
    space: Annotated[str, typer.Argument(help="A supernet, or a TOML file of a space.")],
    resolution: Annotated[
        list[int] | None, typer.Option(help="Of these input sizes alone; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", help="CSV file to write.")] = None,
    json: Json = False,
) -> None:
    """Print every layer of a space as CSV with an empty column of times, which import reads."""
    from latency_tables.published import key_rows, keys_csv
    from models.machine import write_atomically

    if out is not None:
        check_out(out, ".csv", what="a CSV file")
    whole = find_space(catalog(), space)
    rows = key_rows(whole.at(resolution) if resolution else whole)
    if out is not None:
        write_atomically(out, keys_csv(rows).encode())
    if json:
        listed = [dataclasses.asdict(row) for row in rows]
        print_json({"space": whole.name, "path": None if out is None else str(out), "keys": listed})
    elif out is None:
        typer.echo(keys_csv(rows), nl=False)
    else:
        typer.echo(f"{out}: {len(rows)} layers; fill in latency_ms, then `devices import`")

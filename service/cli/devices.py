"""`devices`: what networks run on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError
from service.catalog import read_profile
from service.cli import checking, measuring
from service.cli.common import (
    DeviceArgument,
    Json,
    Server,
    catalog,
    print_json,
    print_table,
    read_json,
)
from service.cli.source import open_source

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(server: Server = None, json: Json = False) -> None:
    """List the devices of this installation, or of a service."""
    with open_source(server) as source:
        items = source.devices()
    if json:
        print_json([item.model_dump() for item in items])
    else:
        print_table(("name", "spaces"), [(i.name, ", ".join(i.spaces)) for i in items])


@app.command()
def show(name: DeviceArgument, server: Server = None, json: Json = False) -> None:
    """Show one device: its latency tables and where they come from."""
    with open_source(server) as source:
        device = source.device(name)
    if json:
        print_json(device.model_dump())
        return
    for table in device.tables:
        error = "unknown" if table.expected_error is None else f"{table.expected_error:.1%}"
        typer.echo(f"{name} for space {table.space}: {table.layers} layers, {table.origin}")
        typer.echo(f"  expected error of a whole network: {error}")
        typer.echo(f"  source: {table.source}")
        for key, value in table.conditions.items():
            typer.echo(f"  {key}: {'not stated' if value is None else value}")


@app.command("import")
def import_(
    name: Annotated[
        str, typer.Argument(help="Name for the device; or a file: a profile, or what a kit wrote.")
    ],
    space: Annotated[
        str | None, typer.Option(help="A supernet whose space the table is of.")
    ] = None,
    ofa_lut: Annotated[
        Path | None, typer.Option(help="Folder of YAML files, one a resolution.")
    ] = None,
    unit: Annotated[str, typer.Option(help="Of the files' figures: ms, s or us.")] = "ms",
    source: Annotated[
        str, typer.Option(help="Who measured it, in a sentence.")
    ] = "imported from files in the published format",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Import a device: a profile's file, or a table in the published YAML format."""
    known = catalog()
    if ofa_lut is None and space is None:
        table = read_profile(known, read_json(Path(name)))
    elif ofa_lut is None or space is None:
        raise InputError("import: expected NAME with both --space and --ofa-lut, or a file alone")
    else:
        from latency_tables.published import import_table

        whole = known.supernets.get(space).space
        table = import_table(ofa_lut, whole, device=name, source=source, unit=unit)
    known.keep_device(table, replace=replace)
    show(table.device, json=json)


app.command()(measuring.measure)
app.command()(checking.check)
app.command()(measuring.kit)


@app.command()
def fit(
    name: str,
    space: Annotated[str, typer.Option(help="Name of the search space.")],
    measurements: Annotated[
        Path, typer.Option(help='Whole networks: {"arch": [...], "latency_ms": [...], "batch": 1}.')
    ],
    donor: Annotated[
        str | None, typer.Option(help="A device like it: 3 networks are enough then, else 10.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="What ran the networks.")] = "not stated",
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8.")] = "fp32",
    source: Annotated[
        str, typer.Option(help="Who measured, in a sentence.")
    ] = "measured by the user",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Fit a table to the times of whole networks, near another device's if there are few."""
    networks = read_json(measurements)
    stated = networks.get("batch") if isinstance(networks, dict) else None
    profile = {
        "name": name,
        "space": space,
        "runtime": runtime,
        "precision": precision,
        "batch": 1 if stated is None else stated,
        "conditions": {},
        "source": source,
        "measurements": networks,
        **({} if donor is None else {"donor": donor}),
    }
    known = catalog()
    table = known.read_profile(profile)
    known.keep_device(table, replace=replace)
    show(name, json=json)


@app.command()
def lint(name: DeviceArgument, server: Server = None, json: Json = False) -> None:
    """Look for what is wrong: units, gaps, order, noise, sums. Errors exit with 1."""
    with open_source(server) as source:
        found = source.device(name).lint
    errors = [finding for finding in found if finding.severity == "error"]
    warnings = [finding for finding in found if finding.severity == "warning"]
    if json:
        by_severity = {"errors": errors, "warnings": warnings}
        listed = {key: [f.model_dump() for f in some] for key, some in by_severity.items()}
        print_json({"device": name, **listed})
    else:
        for f in (*errors, *warnings):
            typer.echo(f"{f.severity}: {f.space} at {f.precision}: {f.kind}: {f.detail}")
        if not found:
            typer.echo("nothing found")
    if errors:
        raise typer.Exit(1)

"""`devices`: what networks run on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from models.errors import Conflict
from service.cli.common import (
    Json,
    Server,
    SupernetName,
    catalog,
    print_json,
    print_table,
    progress_bar,
    settings,
)
from service.cli.source import open_source
from service.descriptions import describe_device
from service.errors import NotAvailable

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
def show(name: str, server: Server = None, json: Json = False) -> None:
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
    name: str,
    space: Annotated[str, typer.Option(help="A supernet whose space the table is of.")],
    ofa_lut: Annotated[Path, typer.Option(help="Folder of YAML files, one a resolution.")],
    unit: Annotated[str, typer.Option(help="Of the files' figures: ms, s or us.")] = "ms",
    source: Annotated[
        str, typer.Option(help="Who measured it, in a sentence.")
    ] = "imported from files in the published format",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Import a latency table in the published YAML format."""
    from latency_tables.ofa_lut import import_ofa_lut

    known = catalog()
    whole = known.supernets.get(space).space
    table = import_ofa_lut(ofa_lut, whole, device=name, source=source, unit=unit)
    known.keep_device(table, replace=replace)
    if json:
        print_json(describe_device(known, name).model_dump())
    else:
        show(name)


@app.command()
def measure(
    name: Annotated[str, typer.Argument(help="Name for this machine, such as host.")],
    supernet: SupernetName,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    target_s: Annotated[float, typer.Option(min=0, help="Seconds to measure for.")] = 240.0,
    resolution: Annotated[
        list[int] | None,
        typer.Option(help="Input size to measure; repeatable. Default: all the predictor knows."),
    ] = None,
    power_w: Annotated[
        float | None, typer.Option(help="Its mean power when busy, watts: to estimate energy.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Measure this machine with ONNX Runtime; cut off, it goes on when called again."""
    from latency_tables.measure import measure_space
    from latency_tables.rounds import MeasureOptions

    known, home = catalog(), settings().home
    pairing = known.pairing(supernet, None)
    space = pairing.bundle.space.at(resolution) if resolution else pairing.space
    if (space.name, "fp32") in known.devices.keys().get(name, ()) and not replace:
        raise Conflict(
            f"device {name!r} has a table for space {space.name!r}: "
            "measure with --replace, or under another name"
        )
    partial = home / "measuring" / f"{name}@{space.name}.json"
    options = MeasureOptions(device=name, threads=threads, target_s=target_s, partial=partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar(f"measuring {space.name}") as show_share:
        table = measure_space(space, options=options, on_progress=show_share)
    conditions = dataclasses.replace(table.conditions, power_w=power_w)
    table = dataclasses.replace(table, conditions=conditions)
    known.keep_device(table, replace=replace)
    if json:
        print_json(describe_device(known, name).model_dump())
    else:
        show(name)


@app.command()
def fit(
    name: str,
    space: Annotated[str, typer.Option(help="Name of the search space.")],
    measurements: Annotated[Path, typer.Option(help="Whole networks and their times.")],
    donor: Annotated[str | None, typer.Option(help="A device like it.")] = None,
) -> None:
    """Fit a table to the times of whole networks. Not available in this version."""
    raise NotAvailable("fitting latency tables is not available in this version")


@app.command()
def lint(name: str, server: Server = None, json: Json = False) -> None:
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

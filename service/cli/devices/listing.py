"""`devices list`, `show`, `lint` and `remove`, here or of a service (`--server`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError
from service.cli.common import DeviceArgument, Json, Server
from service.cli.output import print_json, print_table
from service.cli.source import open_source
from service.contracts import sittings_in_words

if TYPE_CHECKING:
    from service.cli.source import Profile
    from service.contracts import DeviceFinding, DeviceRead, DeviceSummary

OfSpace = Annotated[str | None, typer.Option("--space", help="Only its table for this space.")]
AtPrecision = Annotated[
    str | None, typer.Option("--precision", help="Only its table at this precision.")
]


def list_(server: Server = None, json: Json = False) -> None:
    """List the devices of this installation, or of a service."""
    with open_source(server) as source:
        items = source.devices()
    if json:
        print_json([item.model_dump() for item in items])
    else:
        rows = [(item.name, ", ".join(item.spaces), _runtimes(item)) for item in items]
        print_table(("name", "spaces", "runtime"), rows)


def _runtimes(item: DeviceSummary) -> str:
    """Different runtimes of a device's tables; earlier services do not tell."""
    known = {each or "not stated" for by in item.runtimes.values() for each in by.values()}
    return ", ".join(sorted(known)) or "not stated"


def show(
    name: DeviceArgument,
    table: Annotated[
        bool,
        typer.Option(
            "--table", help="Print its latency table as a profile, which `devices import` reads."
        ),
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print the times of its layers as CSV.")
    ] = False,
    space: OfSpace = None,
    precision: AtPrecision = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Show one device: its latency tables and where they come from, or one whole table."""
    if table or csv:
        if table and csv or csv and json:
            raise InputError("show: expected one of --table, --csv and --json")
        with open_source(server) as source:
            print_table_of(source.device_table(name, space=space, precision=precision), csv=csv)
        return
    if space is not None or precision is not None:
        raise InputError("show: --space and --precision choose a table for --table or --csv")
    with open_source(server) as source:
        device = source.device(name)
    _show(device, json=json)


def print_table_of(profile: Profile, *, csv: bool) -> None:
    """A whole table: as the profile that it is, or its times as CSV."""
    if not csv:
        print_json(profile)
        return
    from latency_tables.fitting import parse_profile
    from latency_tables.published import table_csv

    typer.echo(table_csv(parse_profile(profile)), nl=False)


def _show(device: DeviceRead, *, json: bool) -> None:
    if json:
        print_json(device.model_dump(mode="json"))
    else:
        print_device(device)
    print_findings(device)


def remove(
    name: DeviceArgument,
    space: OfSpace = None,
    precision: AtPrecision = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Remove a device of yours, or some of its tables. Stored searches keep theirs."""
    with open_source(server) as source:
        found = source.remove_device(name, space=space, precision=precision)
    if json:
        print_json(found.model_dump(mode="json"))
        return
    for table in found.removed:
        which = f"{name} for space {table.space} at {table.precision}"
        which += "" if table.owner is None else f", added by {table.owner}"
        typer.echo(f"removed: {which}, revision {table.revision} and those before it")
    typer.echo("stored searches keep the tables that they were asked with")
    for left in found.remaining:
        where = f"{left.space} at {left.precision}: {left.origin}, {left.source}"
        typer.echo(f"{name} still has a table for space {where}")


def show_all(names: Sequence[str], *, json: bool) -> None:
    """Show devices; as JSON, a list unless there is one."""
    with open_source(None) as source:
        devices = [source.device(name) for name in names]
    if len(devices) == 1:
        _show(devices[0], json=json)
        return
    if json:
        print_json([device.model_dump(mode="json") for device in devices])
    for device in devices:
        if not json:
            print_device(device)
        print_findings(device)


def print_findings(device: DeviceRead) -> None:
    """Every finding of a device's tables, on stderr."""
    for finding in device.lint:
        # An error is of a table that is older than the check that finds it.
        refused = " (a new table is refused for this)" if finding.severity == "error" else ""
        typer.echo(f"warning: {device.name} for space {_line(finding)}{refused}", err=True)


def print_device(device: DeviceRead) -> None:
    """A device and its tables, for people."""
    for table in device.tables:
        error = "unknown" if table.expected_error is None else f"{table.expected_error:.1%}"
        typer.echo(f"{device.name} for space {table.space}: {table.layers} layers, {table.origin}")
        typer.echo(f"  expected error of a whole network: {error}")
        typer.echo(f"  {sittings_in_words(table.sittings, table.drift_fraction)}")
        typer.echo(f"  source: {table.source}")
        for key, value in table.conditions.items():
            typer.echo(f"  {key}: {'not stated' if value is None else value}")


def lint(name: DeviceArgument, server: Server = None, json: Json = False) -> None:
    """Check tables for wrong units, gaps, order, noise and sums. Errors exit with code 1."""
    with open_source(server) as source:
        found = source.device(name).lint
    errors = [finding for finding in found if finding.severity == "error"]
    warnings = [finding for finding in found if finding.severity == "warning"]
    if json:
        by_severity = {"errors": errors, "warnings": warnings}
        listed = {key: [f.model_dump() for f in some] for key, some in by_severity.items()}
        print_json({"device": name, **listed})
    else:
        for finding in (*errors, *warnings):
            typer.echo(f"{finding.severity}: {_line(finding)}")
        if not found:
            typer.echo("nothing found")
    if errors:
        raise typer.Exit(1)


def _line(finding: DeviceFinding) -> str:
    return f"{finding.space} at {finding.precision}: {finding.kind}: {finding.detail}"

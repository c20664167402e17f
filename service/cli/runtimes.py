"""`runtimes list`: what can run models here."""

from __future__ import annotations

import dataclasses

import typer

from service.cli.common import Json
from service.cli.output import print_json, print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def runtimes() -> None:
    """Runtimes run and time models: a device is hardware and a runtime."""


@app.command("list")
def list_(json: Json = False) -> None:
    """List the runtimes, whether they can be used here, and how to install them if not."""
    from latency_tables.runtimes import find_runtime, runtime_names, summarize_runtime

    found = [summarize_runtime(find_runtime(name)) for name in runtime_names()]
    if json:
        print_json([dataclasses.asdict(runtime) for runtime in found])
        return
    print_table(
        ("name", "version", "providers here", "for"),
        [(r.name, r.version or "not installed", ", ".join(r.providers), r.purpose) for r in found],
    )
    for runtime in found:
        if runtime.install is not None:
            typer.echo(f"{runtime.name}: {runtime.install}")

"""`runtimes list` and `install`: what can run models here, and in browsers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import NotFound
from service.cli.common import Json, settings
from service.cli.output import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from latency_tables.runtimes import RuntimeSummary

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def runtimes() -> None:
    """Runtimes run and time models: a device is hardware and a runtime."""


@app.command("list")
def list_(json: Json = False) -> None:
    """List the runtimes, whether they can be used here, and how to install them if not."""
    from latency_tables.runtimes import find_runtime, runtime_names, summarize_runtime

    found = [summarize_runtime(find_runtime(name)) for name in runtime_names()]
    found.append(_in_browsers())
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


def _in_browsers() -> RuntimeSummary:
    """onnxruntime-web, which this machine does not run, but sends to browsers."""
    from latency_tables.runtimes import RuntimeSummary
    from service.links import WEB_INSTALL, WEB_NAME, WebRuntime

    runtime = WebRuntime.of(settings())
    here = runtime.folder is not None
    return RuntimeSummary(
        name=WEB_NAME,
        version=runtime.version if here else None,
        available=here,
        install=None if here else WEB_INSTALL,
        providers=["wasm", "webgpu"] if here else [],
        purpose="browsers of other devices (`devices link`)",
    )


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="onnxruntime-web.")],
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE.tgz", help="Its package; default: npm fetches it."),
    ] = None,
    json: Json = False,
) -> None:
    """Install a runtime whose version is pinned; its package is checked before it is unpacked."""
    from service.links import WEB_NAME, WebRuntime

    if name != WEB_NAME:
        raise NotFound(
            f"runtime {name!r}: expected {WEB_NAME}; `subnet-search runtimes list` says how others "
            "are installed"
        )
    runtime = WebRuntime.of(settings())
    with progress_bar(f"installing {name}") as show_share:
        folder = runtime.install(from_, lambda text: show_share(0.0, f"- {text}"))
    if json:
        print_json({"name": name, "version": runtime.version, "path": str(folder)})
    else:
        typer.echo(f"{name} {runtime.version}: {folder}")

"""The `subnet-search` command: one module for each group of subcommands.

With `--json` stdout holds one JSON document and nothing else. Errors go to stderr; the exit code
is 2 for bad input and 1 for any other failure. Commands import what is slow when they run, so that
`--help` needs little more than typer.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from service import __version__
from service.cli import keys, operation, runtimes, verify
from service.cli.common import Group
from service.cli.devices import app as devices_app
from service.cli.devices import try_
from service.cli.extensions import load_extensions
from service.cli.fleet import fleet, ledger
from service.cli.networks import app as networks_app
from service.cli.networks import export, front, predict, search
from service.cli.output import never_silent
from service.cli.searches import compare, download, searches
from service.cli.supernets import app as supernets_app

__all__ = ["app", "main"]

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""New objects after which garbage is collected. What a command imports stays; to look for garbage
in it after every 700 objects, as Python does, makes a command start a twentieth later."""

TELL_THEMSELVES = frozenset({"serve", "worker"})
"""Commands that run until they are stopped, and log what they do."""

app = typer.Typer(
    name="subnet-search",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help and errors, which can be read by scripts too
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"subnet-search {__version__}")
        raise typer.Exit


@app.callback()
def subnet_search(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """One trained supernet, one fitted network for every device."""


app.command()(operation.serve)
app.command()(operation.worker)
app.command()(operation.backup)
app.command()(operation.restore)
app.add_typer(keys.app, name="keys", help="API keys: create, list, revoke.")
app.command()(keys.audit)
app.add_typer(
    supernets_app, name="supernets", help="Supernets: list, show, download, import, train, remove."
)
app.add_typer(
    devices_app,
    name="devices",
    help="Devices: list, show, measure, link, check, import, lint, remove.",
)
app.add_typer(
    networks_app,
    name="networks",
    help="Networks with weights of their own, published or fine-tuned: list, export, import.",
)
app.add_typer(runtimes.app, name="runtimes", help="Runtimes, which run and time models: list.")
app.command()(predict)
app.command()(search)
app.command()(searches)
app.command()(compare)
app.command()(download)
app.command("try")(try_)
app.command()(front)
app.command()(fleet)
app.command()(ledger)
app.command()(export)
app.command()(verify.verify)
app.command()(verify.keygen)
app.command()(operation.gc)


def main() -> None:
    """Run the command, with the user's extensions."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    words = command_words(sys.argv[1:])
    # None is named where a shell asks what to complete: nobody waits for lines there.
    is_told = words not in {"", *TELL_THEMSELVES} and int(os.environ.get("RANK", "0")) == 0
    with never_silent(words) if is_told else nullcontext():
        load_extensions()
        app(prog_name="subnet-search")


def command_words(arguments: Sequence[str]) -> str:
    """The command that arguments name: "search", "devices show"."""
    is_group = arguments[:1] and arguments[0] in {group.name for group in app.registered_groups}
    return " ".join(arguments[: 2 if is_group else 1])

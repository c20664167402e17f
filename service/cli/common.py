"""What the subcommands share: exit codes, output, files, progress."""

from __future__ import annotations

import difflib
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from typer.core import TyperGroup

from models.errors import InputError, SubnetSearchError
from service.cli.completion import complete_device, complete_supernet
from service.settings import Settings

if TYPE_CHECKING:
    from service.catalog import Catalog

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
SupernetName = Annotated[
    str,
    typer.Option("--supernet", help="See `supernets list`.", autocompletion=complete_supernet),
]
DeviceName = Annotated[
    str, typer.Option("--device", help="See `devices list`.", autocompletion=complete_device)
]
SupernetArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="See `supernets list`.", autocompletion=complete_supernet),
]
DeviceArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="See `devices list`.", autocompletion=complete_device),
]
LOOKED_AT = 10_000
"""Files of a folder among which a misspelt one is looked for."""
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="SUBNET_SERVER",
        help="URL of a service to ask instead of this installation, with the key SUBNET_API_KEY.",
    ),
]


class Group(TyperGroup):
    """Turns this project's errors into a line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except SubnetSearchError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, InputError) else 1) from error


def settings() -> Settings:
    """Settings from the environment.

    Raises:
        InputError: naming the variable that does not hold.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise InputError(f"SUBNET_{name}: {first['msg']}, got {first['input']!r}") from error


def catalog() -> Catalog:
    """The supernets and devices of this installation."""
    from service.catalog import open_catalog  # half a second of imports

    return open_catalog(settings())


def print_json(document: Any) -> None:
    """One document, and the only thing, on stdout."""
    typer.echo(json.dumps(document, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows for people on stdout, in columns; never cut."""
    lines = [tuple(columns), *(tuple(str(cell) for cell in row) for row in rows)]
    cells = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in cells]
    numeric = [len(column) > 1 and all(map(_is_number, column[1:])) for column in cells]
    for line in lines:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        typer.echo("  ".join(padded).rstrip())


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"unknown|[+-]?[\d.]+(e[+-]?\d+)?%?", cell) is not None


def shows_unicode() -> bool:
    """Whether what is printed may hold lines, bars and braille."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def read_json(path: Path) -> Any:
    """A JSON file of the user's.

    Raises:
        InputError: if it is not readable, not JSON, or holds NaN or infinity.
    """

    def not_a_number(word: str) -> None:
        raise ValueError(f"{word} is not a number")

    try:
        return json.loads(path.read_bytes(), parse_constant=not_a_number)
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a JSON file, found none{_nearest(path)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a JSON file: {error}") from error


def _nearest(path: Path) -> str:
    """Which file beside it may have been meant."""
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    names = (item.name for item in itertools.islice(path.parent.iterdir(), LOOKED_AT))
    near = difflib.get_close_matches(path.name, names, n=1)
    return f": did you mean {path.parent / near[0]}?" if near else ""


class ShowShare(Protocol):
    """Moves a bar."""

    def __call__(self, share: float, word: str = "") -> None:
        """`share` done, 0..1, and what is being done."""


@contextmanager
def progress_bar(title: str) -> Iterator[ShowShare]:
    """A bar on stderr, gone at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(title, total=1.0)
        done = 0.0

        def show(share: float, word: str = "") -> None:
            nonlocal done
            done = max(done, share)
            bar.update(task, completed=done, description=f"{title} {word}".rstrip())

        yield show

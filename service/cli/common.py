"""What the commands share: options, exit codes, settings, the catalog, JSON files.

Nothing slow is imported here: `subnet-search --help` waits for every import of this module.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from models.errors import InputError, InputWarning, NotFound, SubnetSearchError
from service.cli.completion import complete_device, complete_supernet

if TYPE_CHECKING:
    from models.schema import Document
    from service.catalog import Catalog
    from service.catalog.published import Place
    from service.contracts import Status
    from service.settings import Settings

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
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="SUBNET_SERVER",
        help="URL of a service to ask instead of this installation, with the key SUBNET_API_KEY.",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="URL|FOLDER",
        help="The only place to take the files from. Default: the folders and URLs in "
        "SUBNET_MIRRORS, then the place where they were published.",
    ),
]
MEASURE_S = 240.0
"""Seconds that `devices measure` takes by default."""
STOPPED = 130
"""Exit code after Ctrl-C, as shells expect it."""
NO_DEFECT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES})
"""What a full disk or a folder of somebody else's answers: no traceback is of use."""
MAX_LISTED = 10_000
"""Files of a folder among which the name nearest to a misspelt one is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchesQuery:
    """Filters of stored searches; None does not filter."""

    supernet: str | None = None
    device: str | None = None
    status: Status | None = None
    latency_ms_max: float | None = None
    """At most this latency, and so only searches that succeeded."""
    top1_min: float | None = None
    """At least this predicted accuracy, percent; likewise."""
    created_after: datetime | None = None
    created_before: datetime | None = None


class Group(TyperGroup):
    """Turns this project's errors into a line on stderr and an exit code, and its warnings into a
    line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run a subcommand."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = _shown_by(warnings.showwarning)
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt as interrupt:
                raise _stopped("nothing is half-written, and the same command starts anew") from (
                    interrupt
                )
            except SubnetSearchError as error:
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(2 if isinstance(error, InputError) else 1) from error
            except OSError as error:
                if error.errno not in NO_DEFECT:
                    raise
                where = f"{error.filename}: " if error.filename else ""
                typer.echo(f"error: {where}{error.strerror}", err=True)
                raise typer.Exit(1) from error


@contextmanager
def if_stopped(kept: str) -> Iterator[None]:
    """Say at Ctrl-C what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise _stopped(kept) from interrupt


def _stopped(kept: str) -> typer.Exit:
    typer.echo(f"stopped: {kept}", err=True)
    return typer.Exit(STOPPED)


def _shown_by(others: Callable[..., None]) -> Callable[..., None]:
    """Prints warnings about input in a line; any other is shown by `others`."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, InputWarning):
            others(message, category, *where, **more)
        elif int(os.environ.get("RANK", "0")) == 0:  # torchrun: one process reports
            typer.echo(f"warning: {message}", err=True)

    return show


def print_warnings(warnings: Iterable[str]) -> None:
    """One line each, on stderr: also beside `--json`."""
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def settings() -> Settings:
    """Settings from the environment.

    Raises:
        InputError: naming the variable that is not valid.
    """
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise InputError(f"SUBNET_{name}: {first['msg']}, got {first['input']!r}") from error


def places(from_: str | None) -> list[Place]:
    """Where published files are looked for first; with `--from`, also last.

    Raises:
        InputError: naming the option or the setting that is neither a URL nor a folder.
    """
    from service.catalog.published import read_place, read_places

    if from_ is not None:
        return [read_place(from_, "--from")]
    return read_places(settings().mirror_list)


def catalog() -> Catalog:
    """The supernets and devices of this installation."""
    from service.catalog import open_catalog

    return open_catalog(settings())


def read_json(path: Path) -> Document:
    """A user's JSON file.

    Raises:
        InputError: if the file is not readable, not JSON, or holds NaN or infinity.
    """
    from models.schema import read_json

    try:
        return read_json(path)
    except NotFound as error:
        raise NotFound(f"{error}{_suggestion(path)}") from error


def check_out(path: Path, *suffixes: str, what: str) -> None:
    """Check that a file can be written at `path`, and that its name does not say another format.

    Args:
        suffixes: those of the format, with the dot; a name without any, or with a version at its
            end ("mine-w1.2"), says nothing.
        what: the format, for messages ("an ONNX model").

    Raises:
        InputError: if not.
    """
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise InputError(f"{path}: expected a file in a folder that exists")
    suffix = path.suffix.lower()
    if suffix and suffix not in suffixes and not suffix[1:].isdigit():
        raise InputError(
            f"{path}: expected a name ending in {' or '.join(suffixes)}, since this writes {what}, "
            f"got {path.suffix!r}"
        )


def _suggestion(path: Path) -> str:
    """A file in the same folder with a similar name."""
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    names = (item.name for item in itertools.islice(path.parent.iterdir(), MAX_LISTED))
    near = difflib.get_close_matches(path.name, names, n=1)
    return f": did you mean {path.parent / near[0]}?" if near else ""

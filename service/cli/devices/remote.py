"""`devices measure --ssh`: a kit made here, run on another machine, and its file imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError, SubnetSearchError
from service.cli.common import read_json, settings
from service.cli.output import progress_bar

if TYPE_CHECKING:
    from latency_tables.benchmark import MeasureOptions
    from latency_tables.remote import Board
    from models.spaces import SearchSpace
    from service.catalog import Catalog

Ssh = Annotated[
    str | None,
    typer.Option(
        metavar="USER@HOST",
        help="Measure that machine instead of this one, with OpenSSH's client and configuration.",
    ),
]
Python = Annotated[
    str, typer.Option(metavar="PATH", help="With --ssh: the Python there that has the runtime.")
]


def measure_over_ssh(
    known: Catalog,
    space: SearchSpace,
    work: Sequence[MeasureOptions],
    host: str,
    python: str,
    power_w: float | None,
    *,
    resume: bool,
    replace: bool,
) -> None:
    """Measure another machine and keep its tables, as a file that a kit wrote is kept.

    Args:
        work: one a device; they differ by name and batch alone.
        host: as ssh takes it.
        python: program there.

    Raises:
        InputError: what is missing there or refused, and what to do; or a table is refused.
        SubnetSearchError: no connection, or the measurement failed there.
    """
    from latency_tables.benchmark import build_kit
    from latency_tables.remote import Board
    from latency_tables.runtimes import find_runtime

    first, boards = work[0], []
    for options in work:
        arguments, seconds = _arguments(options, power_w), options.target_s
        boards.append(
            Board(host, python, name=options.device, arguments=arguments, seconds=seconds, say=_say)
        )
    with progress_bar(f"checking {host}"):
        version = boards[0].check(find_runtime(first.runtime), first.provider, first.threads)
    _say(f"{host}: {first.runtime} {version}")
    with progress_bar(f"making models of {space.name}") as show_share:
        kit = build_kit(space, first, show_share)
    for options, board in zip(work, boards, strict=True):
        title = f"{options.device}: {space.name} on {host}"
        path = _fetched(options, space, _measure(board, kit, title, resume=resume))
        _remove(board, kit, host, keep_kit=options is not work[-1])
        table = read_json(path).read(known.read_profile)
        known.keep_device(table, replace=replace)
        path.unlink()


def _arguments(options: MeasureOptions, power_w: float | None) -> list[str]:
    """Those of `measure.py`, but the seconds."""
    arguments = [f"--threads={options.threads}", f"--batch={options.batch}", f"--io={options.io}"]
    if options.provider is not None:
        arguments.append(f"--provider={options.provider}")
    if power_w is not None:
        arguments.append(f"--power-w={power_w}")
    return arguments


def _measure(board: Board, kit: bytes, title: str, *, resume: bool) -> bytes:
    """The file that the kit wrote there; Ctrl-C stops the measurement there, too."""
    try:
        with progress_bar(title) as show_share:
            return board.measure(kit, resume=resume, on_progress=show_share)
    except KeyboardInterrupt:
        _say("stopping the measurement there")
        try:
            board.stop(kit)
            _say("stopped: the same command with --resume goes on")
        except SubnetSearchError as error:
            _say(f"not stopped ({error}): it goes on there, and --resume takes it up")
        raise


def _fetched(options: MeasureOptions, space: SearchSpace, content: bytes) -> Path:
    """The file here, which stays if its table is refused."""
    from models.machine import write_atomically

    folder = settings().home / "measuring"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{options.device}@{space.name}@{options.precision}.kit.json"
    write_atomically(path, content)
    return path


def _remove(board: Board, kit: bytes, host: str, *, keep_kit: bool) -> None:
    """Remove what was put there; what cannot be removed spoils no measurement."""
    try:
        board.remove(kit, keep_kit=keep_kit)
    except SubnetSearchError as error:
        _say(f"warning: {host}: not removed, ~/.cache/subnet-search there: {error}")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def check_alone(sittings: int) -> None:
    """Check that options of this machine's measurement are not combined with `--ssh`.

    Raises:
        InputError: they are.
    """
    if sittings > 1:
        raise InputError(
            "--sittings: expected 1 with --ssh; to add one, run the kit there another day and "
            "`devices import FILE --sitting`"
        )

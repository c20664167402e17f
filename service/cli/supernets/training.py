"""`supernets train`: from a recipe to a supernet that can be searched; `preview`: what may be had
of it before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import NotFound
from service.cli.common import Json, print_warnings, settings
from service.cli.completion import complete_recipe
from service.cli.output import (
    TensorBoard,
    TrainingDisplay,
    print_json,
    print_table,
    progress_bar,
)

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.training import Recipe, StopSignals, TrainingPoint, TrainingProgress


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A shipped recipe's name, or a TOML file.", autocompletion=complete_recipe
        ),
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    no_predictor: Annotated[
        bool,
        typer.Option(
            "--no-predictor",
            help="End after the training, without measuring subnets and fitting the accuracy "
            "predictor that searches need.",
        ),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="A folder to write TensorBoard's files to; needs the package."),
    ] = None,
    json: Json = False,
) -> None:
    """Train a supernet by a recipe and fit its predictor; also under torchrun.

    Ctrl-C or SIGTERM ends it after the step under way, and --resume goes on there."""
    from models.machine import keep_freed_memory
    from models.training import StopSignals, load_recipe
    from models.training import train as train_supernet
    from service.catalog.supernets import trained_before

    keep_freed_memory()
    loaded, home = load_recipe(recipe), settings().home
    trained = trained_before(loaded, home) if resume and not no_predictor else None
    if int(os.environ.get("RANK", "0")) > 0:  # torchrun: one process reports
        with stopping(f"train {recipe} --resume", is_silent=True):
            if trained is None:
                train_supernet(loaded, home, resume=resume)
        return
    display, board = TrainingDisplay(loaded.name), TensorBoard(tensorboard)
    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    stop = StopSignals(display.on_signal, is_final=many)
    with stopping(f"train {recipe} --resume"):
        bundle = trained or train_by(loaded, display, stop, resume=resume, board=board)
        if not no_predictor:
            bundle = fit(bundle, home, loaded, stop)
    _print_trained(bundle, json)


def preview(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the recipe that is trained by.")],
    networks: Annotated[
        int, typer.Option(min=2, max=100, help="Number of subnets to measure.")
    ] = 7,
    json: Json = False,
) -> None:
    """Measure subnets of a training's last checkpoint: what may be had of it.

    The training may be running: it is not disturbed, but shares the machine."""
    from models.training import preview_training, read_training, trainings_folder

    home = settings().home
    folder = trainings_folder(home) / read_training(home, name).name
    with progress_bar(f"previewing {name}:") as show_share:
        found = preview_training(folder, networks, home / "images", show_share)
    if json:
        subnets = [{**asdict(subnet), "arch": subnet.arch.to_json()} for subnet in found.subnets]
        print_json({**asdict(found), "subnets": subnets, "top1_origin": "measured"})
        return
    typer.echo(f"{name}: phase {found.phase}, step {found.step} of {found.steps}")
    rows = [
        (
            str(subnet.macs),
            f"{subnet.top1:.2f}",
            f"{subnet.standard_error:.2f}",
            "unknown" if subnet.top1_at_end is None else f"{subnet.top1_at_end:.1f}",
        )
        for subnet in found.subnets
    ]
    print_table(("macs", "top1 now (measured)", "+-", "top1 at the end (estimated)"), rows)
    typer.echo(
        f"now: percent of {found.images} held-out images, +- one standard error; at the end: if "
        "errors go on to fall as the largest subnet's did, expected error unknown"
    )
    if not found.is_whole:
        typer.echo("smaller subnets of the space are trained by later phases")
    typer.echo("subnets are drawn at random for their MACs: a search finds better ones")


@contextmanager
def stopping(again: str, *, is_silent: bool = False) -> Iterator[None]:
    """Say what a signal left, and how to go on; exit as a shell expects it of such a process.

    Args:
        again: the subcommand that goes on.
    """
    from models.training import TrainingStopped

    how = f"go on with `subnet-search supernets {again}`"
    try:
        yield
    except TrainingStopped as stopped:
        if not is_silent:
            typer.echo(f"{stopped}; {how}", err=True)
        raise typer.Exit(stopped.exit_code) from stopped
    except KeyboardInterrupt as interrupt:
        if not is_silent:
            typer.echo(f"stopped at once: a checkpoint that was written is kept; {how}", err=True)
        raise typer.Exit(130) from interrupt


def train_by(
    recipe: Recipe,
    display: TrainingDisplay,
    stop: StopSignals,
    *,
    resume: bool,
    board: TensorBoard | None = None,
) -> Bundle:
    """The supernet that is trained by a recipe, shown meanwhile."""
    from models.bundle import Bundle
    from models.training import read_training
    from models.training import train as train_supernet

    home, board = settings().home, board or TensorBoard(None)
    if resume:
        with suppress(NotFound):
            for point in read_training(home, recipe.name).points:
                display.on_point(point)

    def on_progress(now: TrainingProgress) -> None:
        display.on_progress(now)
        board.on_progress(now)

    def on_point(point: TrainingPoint) -> None:
        display.on_point(point)
        board.on_point(point)

    with display, board:
        path = train_supernet(
            recipe,
            home,
            resume=resume,
            on_progress=on_progress,
            on_images=display.on_images,
            on_point=on_point,
            stop=stop,
        )
    return Bundle.open(path)


def fit(bundle: Bundle, home: Path, recipe: Recipe, stop: StopSignals) -> Bundle:
    """The supernet with a predictor for searches."""
    from models.machine import cores
    from service.catalog.supernets import fit_warnings, make_searchable

    with progress_bar(f"making {bundle.name} searchable") as show_share:
        bundle = make_searchable(
            bundle, home, recipe, threads=cores(), stop=stop, on_share=show_share
        )
    print_warnings(fit_warnings(bundle))
    return bundle


def _print_trained(bundle: Bundle, json: bool) -> None:
    """What came out, and what comes next."""
    report = bundle.card.get("predictor")
    if json:
        print_json({"path": str(bundle.path), **({"predictor": report} if report else {})})
        return
    typer.echo(str(bundle.path))
    measured = bundle.card["metrics"]["test_top1"]
    typer.echo(
        f"largest {measured['largest']} %, smallest {measured['smallest']} % of "
        f"{measured['images']} test images (measured)"
    )
    print_next(bundle)


def print_next(bundle: Bundle) -> None:
    """How good the predictor is, and what comes next."""
    report = bundle.card.get("predictor")
    if report is None:
        typer.echo(
            f"not searchable yet: `subnet-search supernets collect {bundle.name}`, then "
            f"`supernets fit-predictor {bundle.name}`"
        )
        return
    found = report.get("found")
    error = report["rmse"] if found is None else found["rmse"]
    typer.echo(
        f"fitted to {report['count']} measured subnets: expected error {error:.2f} points "
        f"({report['measured_until']['because']})"
    )
    typer.echo(
        f"next: `subnet-search devices measure host --supernet {bundle.name}`, then `subnet-search "
        f"search --supernet {bundle.name} --device host --latency-ms X`"
    )

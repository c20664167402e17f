"""`supernets init`: a recipe for a folder of images."""

from __future__ import annotations

import os
import re
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import Conflict, InputError
from service.cli.common import Json, catalog, check_out, print_warnings, settings
from service.cli.completion import complete_supernet
from service.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.data import FolderReport
    from models.spaces import MobileSpace
    from models.training.planning import RecipePlan

LOOKING_SHARE = 0.5
"""Share of the progress that looking at the images is taken for."""
ADAPTING_MINUTES = 10.0
"""That training from a base takes by default."""
BUSY = 1.5
"""Processes for each core, over the last minute, from which on a machine is called busy."""
MEASURING_MINUTES = 1.5
"""That `search --measure -o` takes, about, on a machine without a table."""


def init(  # long: a parameter for each option
    folder: Annotated[
        Path, typer.Argument(help="One folder a class, or train and test with such folders.")
    ],
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=100_000,
            help="That `supernets train` may take on this machine. Default: 60, or what --macs "
            "needs.",
        ),
    ] = None,
    macs: Annotated[
        float | None, typer.Option(min=1, help="Most multiply-accumulates of the largest network.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the supernet. Default: the folder's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: NAME.toml.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A trained supernet to start from, as `supernets adapt` does.",
            autocompletion=complete_supernet,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the training.")] = 1,
    json: Json = False,
) -> None:
    """Look at a folder of images, and write a recipe to train a supernet on them.

    The space is chosen by the images' size and by the minutes: steps are timed here."""
    from models.machine import keep_freed_memory
    from models.training.planning import plan_recipe, recipe_text

    keep_freed_memory()  # as the training does, whose steps are timed
    chosen = _name(folder, name)
    path = output or Path(f"{chosen}.toml")
    check_out(path, ".toml", what="a recipe")
    if path.exists() and not force:
        raise Conflict(f"{path} exists: replace it with --force, or write another --output")
    print_warnings(_load_warnings())
    if base is not None:
        if macs is not None:
            raise InputError("--macs: the space is that of --base; leave one of them out")
        _init_from(base, folder, chosen, path, minutes or ADAPTING_MINUTES, seed, json)
        return
    with progress_bar(f"looking at {folder}") as show:
        report, decoding_s = _look(folder, lambda share, doing: show(LOOKING_SHARE * share, doing))
        tried: list[MobileSpace] = []

        def on_trying(space: MobileSpace) -> None:
            tried.append(space)
            show(
                1 - (1 - LOOKING_SHARE) / len(tried),
                f"timing steps at {space.resolutions[-1]} pixels",
            )

        plan = plan_recipe(
            report,
            name=chosen,
            minutes=minutes,
            most_macs=macs,
            decoding_s=decoding_s,
            seed=seed,
            on_trying=on_trying,
        )
    _write(path, recipe_text(plan.recipe, _head(report, plan)))
    print_warnings([*report.warnings, *plan.warnings])
    if json:
        print_json(
            {
                "path": str(path),
                "images": report.to_json(),
                "recipe": plan.recipe.to_json(),
                "largest_step_s": plan.step_s,
                "estimated_s": {**asdict(plan.seconds), "all": plan.seconds.all},
            }
        )
        return
    for line in [*report.lines(), *_in_words(plan), *_next(path, plan)]:
        typer.echo(line)


def _init_from(  # long: what `init` was given
    base: str, folder: Path, name: str, path: Path, minutes: float, seed: int, json: bool
) -> None:
    """A recipe that starts from the weights of a trained supernet."""
    from models.training.planning import recipe_text
    from models.training.transfer import plan_adaptation

    bundle = catalog().supernets.get(base)
    bundle.check_weights()
    with progress_bar(f"looking at {folder}") as show:
        report, _ = _look(folder, lambda share, doing: show(LOOKING_SHARE * share, doing))
        show(LOOKING_SHARE, "timing steps")
        plan = plan_adaptation(report, bundle, name=name, minutes=minutes, seed=seed)
    training = _duration(plan.training_s)
    head = f"Adapts {base} to {report.images} images; takes about {training} (estimated)."
    _write(path, recipe_text(plan.recipe, head))
    print_warnings([*report.warnings, *plan.warnings])
    if json:
        images, recipe = report.to_json(), plan.recipe.to_json()
        seconds = {"training": plan.training_s}
        print_json({"path": str(path), "images": images, "recipe": recipe, "estimated_s": seconds})
        return
    command = f"subnet-search supernets train {shlex.quote(str(path))}"
    for line in [*report.lines(), f"wrote {path}", f"next: `{command}`, about {training}"]:
        typer.echo(line)


def _load_warnings() -> list[str]:
    """That other work makes the steps slow that are timed here."""
    from models.machine import cores

    load, here = os.getloadavg()[0], cores()
    if load <= BUSY * here:
        return []
    return [
        f"this machine is busy: {load:.0f} processes want its {here} cores. Steps take longer than "
        "they would alone, and the recipe is for a slower machine"
    ]


def _look(folder: Path, show: Callable[[float, str], None]) -> tuple[FolderReport, float]:
    """What is in the folder, and the seconds that decoding all of it takes.

    Raises:
        InputError: if nothing can be trained on it.
    """
    from models.data import scan_folder
    from models.schema import is_text

    if not is_text(str(folder.absolute())):
        raise InputError(f"{ascii(str(folder))}: expected a path of printable characters")
    start = time.monotonic()
    report = scan_folder(folder, on_share=show)
    report.check()
    return report, (time.monotonic() - start) * report.images / report.looked_at


def _name(folder: Path, given: str | None) -> str:
    """The name of the supernet: one that is free.

    Raises:
        InputError: if the given one is no name.
        Conflict: if it is taken.
    """
    from models.schema import NAME_WORDS, is_name
    from models.training import trainings_folder

    home = settings().home
    trainings = trainings_folder(home)
    taken = {*catalog().supernets.names()}
    if trainings.is_dir():
        taken |= {path.name for path in trainings.iterdir()}
    if given is not None:
        if not is_name(given):
            raise InputError(f"--name: expected {NAME_WORDS}, got {given!r:.80}")
        if given in taken:
            raise Conflict(f"--name: a supernet or a training {given!r} exists: take another name")
        return given
    words = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._")[:60]
    names = [words or "photos", *(f"{words or 'photos'}-{n}" for n in range(2, 1000))]
    return next(name for name in names if name not in taken)


def _write(path: Path, text: str) -> None:
    from models.machine import write_atomically

    write_atomically(path, text.encode())


def _head(report: FolderReport, plan: RecipePlan) -> str:
    """Of the file: what the choices rest on."""
    from models.data import listed

    return (
        f"For {report.images} images of {len(report.classes)} classes: {listed(report.classes)}.\n"
        f"Training takes about {_duration(plan.seconds.all)} (estimated), where a step of the "
        f"largest network\ntakes {1e3 * plan.step_s:.0f} ms (measured). Change what you like; "
        "docs/training.md says more."
    )


def _in_words(plan: RecipePlan) -> list[str]:
    from models.spaces import layer_plan

    recipe, space = plan.recipe, plan.recipe.space
    largest, smallest = (
        sum(layer.macs for layer in layer_plan(space, arch)) / 1e6
        for arch in (space.largest, space.smallest)
    )
    epochs = ", ".join(f"{phase.name} {phase.epochs}" for phase in recipe.phases)
    seconds = plan.seconds
    return [
        f"{recipe.holdout} images for training are held out, to measure subnets on",
        f"space: {space.cardinality:.1e} networks, {smallest:.3g} to {largest:.3g} million "
        f"multiply-accumulates, {space.resolutions[0]} to {space.resolutions[-1]} pixels",
        f"a step of {recipe.batch_size} images takes the largest network "
        f"{1e3 * plan.step_s:.0f} ms (measured); epochs: {epochs}",
        f"{_duration(seconds.training)} of training, {_duration(seconds.decoding)} to decode "
        f"images, {_duration(seconds.predictor)} to measure subnets and fit the predictor "
        "(estimated)",
    ]


def _next(path: Path, plan: RecipePlan) -> list[str]:
    name = plan.recipe.name
    return [
        f"wrote {path}",
        f"next: `subnet-search supernets train {shlex.quote(str(path))}`, about "
        f"{_duration(plan.seconds.all)} (estimated)",
        f"then: `subnet-search search --supernet {name} --device host --measure -o {name}.onnx`, "
        f"about {MEASURING_MINUTES:g} min; --latency-ms sets a budget",
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

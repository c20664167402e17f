"""`supernets adapt`: a trained supernet's weights, for other classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import Conflict, InputError, NotFound
from service.cli.common import Json, catalog, print_warnings, settings
from service.cli.completion import complete_supernet
from service.cli.output import TrainingDisplay, print_json, print_table, progress_bar
from service.cli.supernets.starting import LOOKING_SHARE
from service.cli.supernets.training import fit, print_next, stopping, train_by

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.training import Recipe, StopSignals

ROWS = {"head_only": "classifier alone", "adapted": "adapted", "from_scratch": "from scratch"}


def adapt(  # long: a parameter for each option
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            help="A supernet with weights: see `supernets list`.",
            autocompletion=complete_supernet,
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the new supernet.")],
    images: Annotated[
        Path | None,
        typer.Option(help="One folder a class, or train and test with such folders."),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=100_000,
            help="Of training on this machine; measuring and the predictor come after it.",
        ),
    ] = 10.0,
    head_only: Annotated[
        bool, typer.Option("--head-only", help="Train the classifier alone.")
    ] = False,
    max_resolution: Annotated[
        int | None,
        typer.Option(min=1, help="Largest input size, pixels. Default: the base's."),
    ] = None,
    compare_scratch: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0.01,
            max=100_000,
            help="Also train the same space from random weights for so long, to compare.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    no_predictor: Annotated[
        bool,
        typer.Option("--no-predictor", help="End without the predictor that searches need."),
    ] = False,
    json: Json = False,
) -> None:
    """Adapt a trained supernet to the classes of a folder of images.

    First a new classifier alone, then all layers. Ctrl-C keeps a checkpoint; --resume goes on."""
    from models.bundle import Bundle
    from models.machine import keep_freed_memory
    from models.training import StopSignals

    keep_freed_memory()
    home = settings().home
    target = home / "supernets" / name
    if resume:
        recipe = _recipe_under_way(name, base)
    elif images is None:
        raise InputError("--images: name the folder of the images")
    else:
        recipe = _planned(base, name, images, minutes, head_only, max_resolution)
    display = TrainingDisplay(name)
    stop = StopSignals(display.on_signal)
    again = f"adapt {base} --name {name} --resume"
    if compare_scratch is not None:
        again += f" --compare-scratch {compare_scratch:g}"
    with stopping(again):
        if target.exists():
            bundle = Bundle.open(target)
        else:
            bundle = train_by(recipe, display, stop, resume=resume)
        if compare_scratch is not None:
            bundle = _compare(bundle, recipe, compare_scratch, stop)
        if not no_predictor and not bundle.capabilities["search"]:
            bundle = fit(bundle, home, recipe, stop)
    _print_adapted(bundle, json)


def _planned(
    base: str,
    name: str,
    images: Path,
    minutes: float,
    head_only: bool,
    max_resolution: int | None,
) -> Recipe:
    """The recipe, after a look at everything that it needs.

    Raises:
        InputError: if base and images do not fit.
        Conflict: if the name is taken.
    """
    from models.data import scan_folder
    from models.schema import NAME_WORDS, is_name
    from models.training import has_checkpoint, trainings_folder
    from models.training.transfer import plan_adaptation

    if not is_name(name):
        raise InputError(f"--name: expected {NAME_WORDS}, got {name!r:.80}")
    bundle, home = catalog().supernets.get(base), settings().home
    bundle.check_weights()
    if name in catalog().supernets.names():
        raise Conflict(f"--name: a supernet {name!r} exists: take another name")
    if has_checkpoint(trainings_folder(home) / name):
        raise Conflict(
            f"--name: a training {name!r} is under way: go on with --resume, or take another name"
        )
    with progress_bar(f"looking at {images}") as show:
        report = scan_folder(
            images, on_share=lambda share, doing: show(LOOKING_SHARE * share, doing)
        )
        report.check()
        show(LOOKING_SHARE, "timing steps")
        plan = plan_adaptation(
            report,
            bundle,
            name=name,
            minutes=minutes,
            head_only=head_only,
            most_resolution=max_resolution,
        )
    print_warnings([*report.warnings, *plan.warnings])
    steps = ", ".join(f"{phase.name} {phase.most_steps}" for phase in plan.recipe.phases)
    for line in [*report.lines(), f"steps of {plan.recipe.batch_size} images: {steps}"]:
        typer.echo(line, err=True)
    return plan.recipe


def _recipe_under_way(name: str, base: str) -> Recipe:
    """Of an adaptation that was stopped, in its training or after it.

    Raises:
        NotFound: if there is none.
    """
    from models.bundle import Bundle
    from models.training import checkpointed_recipe, parse_recipe, trainings_folder

    home = settings().home
    target = home / "supernets" / name
    if (target / "card.json").is_file():
        bundle = Bundle.open(target)
        recipe = parse_recipe({**bundle.recipe, "space": bundle.space.to_json()})
    else:
        recipe = checkpointed_recipe(trainings_folder(home) / name)
    if recipe.base != base:
        raise NotFound(f"--resume: {name!r} is not adapted from {base!r}, but {recipe.base!r}")
    return recipe


def _compare(bundle: Bundle, recipe: Recipe, minutes: float, stop: StopSignals) -> Bundle:
    """The bundle with the accuracies of networks trained from scratch."""
    from models.training import checkpointed_recipe, compare_with_scratch, scratch_folder
    from models.training.transfer import scratch_recipe

    home = settings().home
    if bundle.card["metrics"]["adaptation"]["from_scratch"] is not None:
        return bundle
    try:
        scratch = checkpointed_recipe(scratch_folder(recipe, home))
    except NotFound:  # it was not begun
        trained = int(bundle.card["data"]["training_images"])
        with progress_bar("timing steps from scratch"):
            scratch = scratch_recipe(recipe, trained, minutes).recipe
    with TrainingDisplay(f"{bundle.name} from scratch") as display:
        return compare_with_scratch(
            bundle, recipe, scratch, home, on_progress=display.on_progress, stop=stop
        )


def _print_adapted(bundle: Bundle, json: bool) -> None:
    """Accuracies side by side."""
    found: dict[str, Any] = bundle.card["metrics"]["adaptation"]
    report = bundle.card.get("predictor")
    if json:
        print_json(
            {
                "path": str(bundle.path),
                "adaptation": found,
                **({"predictor": report} if report else {}),
            }
        )
        return
    typer.echo(str(bundle.path))
    networks = list(found["archs"])
    rows = [
        (label, *(f"{found[key][n]:.2f}" if found[key] else "-" for n in networks))
        for key, label in ROWS.items()
    ]
    print_table((f"top-1 on {found['images']} test images (measured)", *networks), rows)
    if found["from_scratch"] is None:
        again = f"adapt {bundle.card['base']['name']} --name {bundle.name} --resume"
        how = f"subnet-search supernets {again} --compare-scratch MINUTES"
        typer.echo(f"from scratch: not trained; `{how}` does it")
    print_next(bundle)

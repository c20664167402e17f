"""The phases that adapt a trained supernet to a user's images in the time that there is.

First the classifier alone: a new one answers at random, and its gradients would spoil what the
other layers know. Then all layers by the sandwich rule: the largest subnet learns the labels, and
teaches a small one and a random one (BigNAS, arXiv 2003.11142).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.data import FolderReport
from models.errors import InputError
from models.spaces import SearchSpace
from models.training.planning import (
    LEAST_HELD_OUT,
    augmentation_of,
    held_out_count,
    time_step,
)
from models.training.recipe import MOST_EPOCHS, OPEN, Phase, Recipe

BATCH_SIZES, LEAST_STEPS = (128, 64, 32, 16, 8, 4, 2), 8
"""The largest batch that leaves so many steps an epoch."""
RATE_BATCH = 128
"""Batch that the learning rates are meant for; they are proportional to it."""
HEAD_SHARE, HEAD_RATE = 0.15, 0.4
"""Share of the time in which the classifier learns alone, and its learning rate then."""
RATE, BODY_RATE = 0.32, 1.0
"""When all layers learn, and the share of it that all but the classifier have: 0.25 and 0.5 were
tried, and were worse after 400 steps (docs/decisions/0057)."""
SCRATCH_SHARE, SCRATCH_RATES = 0.35, (0.12, 0.06)
"""From scratch: the time for the largest network alone, and the rates of the two phases."""
WEIGHT_DECAY, SUMMED_DECAY = 5e-5, 10
"""Of a step by the gradient of one subnet, and how many times as much where those of three are
summed."""
WARMUP_SHARE = 0.05
"""Of a phase's steps, until its learning rate is at its peak."""
LEAST_IMAGES = 2 * LEAST_HELD_OUT
"""Training images that each class needs: half of them are held out."""
MOST_ENLARGED = 8
"""Times that images may be enlarged to the smallest input of the base."""
SHIFTED = 14
"""Part of the side by which small images are shifted at most."""
MOST_RESOLUTIONS = 5
"""Input sizes; published spaces have 34."""
ENOUGH_EPOCHS = 10
"""Passes over the images below which a warning is due."""
TimeStep = Callable[[Recipe, Phase], float]


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A recipe that starts from a base, and what its choices rest on."""

    recipe: Recipe
    training_s: float
    """Of all phases, by the steps that were timed here."""
    warnings: tuple[str, ...]


def plan_adaptation(
    report: FolderReport,
    base: Bundle,
    *,
    name: str,
    minutes: float,
    head_only: bool = False,
    most_resolution: int | None = None,
    seed: int = 1,
    country: str = "USA",
    timer: TimeStep | None = None,
) -> Adaptation:
    """The recipe that adapts `base` to the images of a folder.

    Args:
        report: of the folder.
        name: of the new supernet.
        minutes: of training.
        head_only: leave all layers but the classifier as they are.
        most_resolution: largest input size, pixels; None: the base's.
        timer: seconds of a step of a phase; default: measured here.

    Raises:
        InputError: the base has no weights, or its family cannot be trained in phases, or images
            do not fit it or are too few.
    """
    report.check()
    base.check_weights()
    base.space.narrowed({})  # refuses a family that cannot be trained in phases
    kept = base.space.at(_resolutions(base, most_resolution))
    warnings = _check_images(report, kept)
    space = replace(kept, name=name, classes=len(report.classes))
    recipe = _recipe(report, base, space, seed, country)
    rate = recipe.batch_size / RATE_BATCH
    opened = _open_choices(space)
    head = Phase(
        name="head",
        epochs=1,
        learning_rate=HEAD_RATE * rate,
        body_rate=0.0,
        always=("largest", "smallest-drawn"),
        **opened,
    )
    everything = Phase(
        name="all",
        epochs=1,
        learning_rate=RATE * rate,
        body_rate=BODY_RATE,
        weight_decay=SUMMED_DECAY * WEIGHT_DECAY,
        always=("largest", "smallest-drawn"),
        teacher="largest",
        distill=1.0,
        **opened,
    )
    shares = [(head, 1.0)] if head_only else [(head, HEAD_SHARE), (everything, 1 - HEAD_SHARE)]
    trained = sum(report.train_counts) - recipe.holdout
    timed = _timed(recipe, shares, 60 * minutes, trained, timer or time_step)
    return replace(timed, warnings=(*warnings, *timed.warnings))


def scratch_recipe(
    recipe: Recipe, trained: int, minutes: float, timer: TimeStep | None = None
) -> Adaptation:
    """A recipe for the space and the images of an adaptation's, from random weights: the largest
    network alone, then all by the sandwich rule.

    Args:
        trained: training images, without those held out.
    """
    rate = recipe.batch_size / RATE_BATCH
    first, second = (each * rate for each in SCRATCH_RATES)
    full = Phase(name="full", epochs=1, learning_rate=first)
    everything = Phase(
        name="all",
        epochs=1,
        learning_rate=second,
        weight_decay=SUMMED_DECAY * WEIGHT_DECAY,
        sort_channels=True,
        always=("largest", "smallest-drawn"),
        teacher="largest",
        distill=1.0,
        **_open_choices(recipe.space),
    )
    shares = [(full, SCRATCH_SHARE), (everything, 1 - SCRATCH_SHARE)]
    alone = replace(recipe, base=None, phases=(full,))
    return _timed(alone, shares, 60 * minutes, trained, timer or time_step)


def _timed(
    recipe: Recipe,
    shares: list[tuple[Phase, float]],
    seconds: float,
    trained: int,
    timer: TimeStep,
) -> Adaptation:
    """Phases as long as their shares of the time, at least a step each, at most what a recipe may
    say."""
    per_epoch = trained // recipe.batch_size
    phases, training_s = list[Phase](), 0.0
    for phase, share in shares:
        step_s = timer(recipe, phase)
        steps = min(max(1, round(share * seconds / step_s)), MOST_EPOCHS * per_epoch)
        epochs = math.ceil(steps / per_epoch)
        warmup = round(WARMUP_SHARE * steps / per_epoch, 4)
        phases.append(replace(phase, epochs=epochs, most_steps=steps, warmup_epochs=warmup))
        training_s += steps * step_s
    passes = sum(phase.steps(per_epoch) for phase in phases) / per_epoch
    few = (
        f"the time is enough for {passes:.1f} passes over the images; {ENOUGH_EPOCHS} would be "
        "well: give more minutes"
    )
    warnings = (few,) if passes < ENOUGH_EPOCHS else ()
    return Adaptation(replace(recipe, phases=tuple(phases)), training_s, warnings)


def _resolutions(base: Bundle, most: int | None) -> list[int]:
    """Input sizes that are worth training: those that the base's predictor knows, or a few.

    Raises:
        InputError: none is that small.
    """
    sizes = [r for r in base.space.resolutions if most is None or r <= most]
    if not sizes:
        raise InputError(
            f"largest input size: expected at least the base's smallest, "
            f"{base.space.resolutions[0]} pixels, got {most}"
        )
    predicted = base.card.get("predictor", {}).get("resolutions", sizes)
    if known := [r for r in sizes if r in predicted]:
        sizes = known
    places = np.linspace(0, len(sizes) - 1, min(len(sizes), MOST_RESOLUTIONS))
    return [sizes[round(place)] for place in places]


def _open_choices(space: SearchSpace) -> dict[str, Any]:
    """All choices of the space, as fields of a phase."""
    return {name: tuple(map(int, space.choices_of(gene))) for name, gene in OPEN.items()}


def _recipe(
    report: FolderReport, base: Bundle, space: SearchSpace, seed: int, country: str
) -> Recipe:
    """Everything but the phases."""
    images, classes = sum(report.train_counts), len(report.classes)
    if (fewest := min(report.train_counts)) < LEAST_IMAGES:
        named = report.classes[report.train_counts.index(fewest)]
        raise InputError(
            f"images {str(report.folder)!r}: expected at least {LEAST_IMAGES} a class for "
            f"training, got {fewest} of {named!r}"
        )
    held_out = held_out_count(images, classes)
    trained = images - held_out
    batch_size = next((b for b in BATCH_SIZES if b * LEAST_STEPS <= trained), BATCH_SIZES[-1])
    size = space.resolutions[-1]
    augmentation, shift = augmentation_of(report.classes, size, shifted=SHIFTED)
    return Recipe(
        name=space.name,
        dataset=str(report.folder.absolute()),
        seed=seed,
        holdout=held_out,
        holdout_by_class=True,
        batch_size=batch_size,
        weight_decay=WEIGHT_DECAY,
        momentum=0.9,
        label_smoothing=0.05,
        shift=shift,
        mean=base.mean,
        std=base.std,
        country=country,
        space=space,
        phases=(Phase(name="head", epochs=1, learning_rate=HEAD_RATE, body_rate=0.0),),
        augmentation=augmentation,
        base=base.name,
    )


def _check_images(report: FolderReport, space: SearchSpace) -> tuple[str, ...]:
    """What is odd about the images for a base of this space.

    Raises:
        InputError: they do not fit it.
    """
    where = f"images {str(report.folder)!r}"
    if space.channels == 1 and report.channels == 3:
        raise InputError(
            f"{where}: {report.coloured_share:.0%} are in colour, and the base has one channel: "
            "their colours would be lost. Take a base with channels = 3, train one with "
            "`subnet-search supernets init`, or turn the images grey yourself"
        )
    side = min(report.width.median, report.height.median)
    least, most = space.resolutions[0], space.resolutions[-1]
    if MOST_ENLARGED * side < least:
        raise InputError(
            f"{where}: expected at least {math.ceil(least / MOST_ENLARGED)} pixels a side for a "
            f"base whose smallest input is {least}, got {side} (median): take a base for smaller "
            "images, or train one with `subnet-search supernets init`"
        )
    warnings = list[str]()
    if space.channels == 3 and report.channels == 1:
        warnings.append(
            f"{where}: they are grey, and the base has three channels: each gets the same pixels"
        )
    if side < least:
        warnings.append(f"{where}: {side} pixels a side (median) are enlarged to {least} to {most}")
    return tuple(warnings)

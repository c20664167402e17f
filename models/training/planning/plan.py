"""A first recipe for a folder of images: from what is in it, and from the time that there is.

The space is the one of most multiply-accumulates whose largest network still sees every image often
enough in the time. How long a step takes is measured on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from models.data import FolderReport
from models.errors import InputError
from models.spaces import MobileSpace, SearchSpace, params
from models.training.planning.candidates import candidates, side_of
from models.training.planning.image_choices import HELD_OUT, augmentation_of, held_out_count
from models.training.planning.phases import Phases
from models.training.planning.step_timing import (
    START_S,
    VALIDATION_SHARE,
    Seconds,
    predictor_s,
    time_step,
)
from models.training.recipe import Phase, Recipe
from models.training.time_left import macs

MINUTES = 60.0
"""Where nothing limits the work."""
GOOD_PASSES, GOOD_STEPS, GOOD_PASSES_WEIGHTS = 20, 1500, 400_000
"""Passes over the images, and steps, as counted in work of the largest network, below which a
smaller space comes out better. Networks of more weights need more passes, by the square root: so
time goes into size and into passes alike."""
FEWEST_PASSES = 8
"""With which a warning is due."""
MOST_TRIED = 5
"""Spaces whose steps are timed."""
BATCH_SIZES, STEPS_PER_EPOCH = (128, 64, 32, 16, 8, 4, 2), 100
"""The largest batch with which an epoch has so many steps, but not below `LEAST_BATCH` for it."""
LEAST_BATCH = 16
WEIGHT_DECAY = 5e-4
SHIFTED = 8
"""Part of the side by which small images are shifted at most."""

TimeStep = Callable[[Recipe, Phase], float]


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """A recipe, and what its choices rest on."""

    recipe: Recipe
    step_s: float
    """Of the largest network, measured here."""
    seconds: Seconds
    warnings: tuple[str, ...]


def plan_recipe(
    report: FolderReport,
    *,
    name: str,
    minutes: float | None = None,
    most_macs: float | None = None,
    decoding_s: float = 0.0,
    seed: int = 1,
    timer: TimeStep | None = None,
    on_trying: Callable[[MobileSpace], None] = lambda space: None,
) -> RecipePlan:
    """The recipe of the largest space that this machine trains well in the time.

    Args:
        report: of a folder without problems.
        minutes: of `supernets train`, to a supernet that can be searched. Default: what
            `most_macs` needs; without it, an hour.
        most_macs: of the largest network.
        decoding_s: of all images.
        timer: seconds of a step of a phase. Default: measured here.
        on_trying: told of every space whose steps are timed.

    Raises:
        InputError: images are too few or too small, the minutes are too few for an epoch, or no
            space has so few multiply-accumulates.
    """
    timer = timer or time_step
    spaces = _within(candidates(report, name), most_macs, report)
    if minutes is None and most_macs is None:
        minutes = MINUTES

    def trial(space: MobileSpace) -> _Trial:
        on_trying(space)
        recipe = recipe_of(report, space, seed)
        phases = Phases(space, recipe.batch_size, recipe.weight_decay)
        step_s = timer(recipe, phases.full)
        fitting_s = predictor_s(
            recipe, phases.elastic, step_s, sum(report.train_counts), sum(report.test_counts)
        )
        steps = (sum(report.train_counts) - recipe.holdout) // recipe.batch_size
        return _Trial(recipe, phases, step_s, steps, START_S + decoding_s + fitting_s)

    if minutes is None:
        tried = trial(spaces[0])
        left_s = tried.good_s
    else:
        tried = _largest_in_time(spaces, 60 * minutes, trial)
        left_s = 60 * minutes - tried.beside_s
    elastic_s = timer(tried.recipe, tried.phases.elastic)
    epochs_s = [tried.steps * s * (1 + VALIDATION_SHARE) for s in (tried.step_s, elastic_s)]
    if minutes is not None and left_s < sum(epochs_s):
        raise _too_short(minutes, tried.beside_s, sum(epochs_s))
    phases = tried.phases.lasting(left_s, *epochs_s)
    training_s = sum(phase.epochs * s for phase, s in zip(phases, epochs_s, strict=True))
    return RecipePlan(
        recipe=replace(tried.recipe, phases=phases),
        step_s=tried.step_s,
        seconds=Seconds(decoding_s, training_s, tried.beside_s - START_S - decoding_s),
        warnings=tuple(_warnings(tried.recipe, training_s / epochs_s[0], report)),
    )


def _too_short(minutes: float, beside_s: float, epochs_s: float) -> InputError:
    least = math.ceil(10 * (beside_s + epochs_s) / 60) / 10
    return InputError(
        f"--minutes: expected at least {least:g}, got {minutes:g}: of the smallest space for these "
        f"images, an epoch of each phase takes {epochs_s:.0f} s, and {beside_s:.0f} s go into "
        "decoding images, measuring subnets and fitting the predictor (estimated)"
    )


def _within(
    spaces: list[MobileSpace], most_macs: float | None, report: FolderReport
) -> list[MobileSpace]:
    """Those whose largest network has at most so many multiply-accumulates."""
    if most_macs is None:
        return spaces
    within = [space for space in spaces if macs(space, space.largest) <= most_macs]
    if not within:
        least = macs(spaces[-1], spaces[-1].largest)
        raise InputError(
            f"--macs: expected at least {least}, of the largest network of the smallest space for "
            f"images of {side_of(report)} pixels, got {most_macs:g}"
        )
    return within


@dataclass(frozen=True, slots=True)
class _Trial:
    """A space whose largest network was timed."""

    recipe: Recipe
    phases: Phases
    step_s: float
    steps: int
    """Of an epoch."""
    beside_s: float
    """Seconds that are not training."""

    @property
    def good_s(self) -> float:
        """Seconds of a training that is long enough."""
        return self.step_s * max(good_passes(self.recipe.space) * self.steps, GOOD_STEPS)


def _largest_in_time(
    spaces: list[MobileSpace], all_s: float, trial: Callable[[MobileSpace], _Trial]
) -> _Trial:
    """The largest space that is trained long enough in the time, of those tried; the smallest
    space, if none is.

    The smallest is timed first. The time of others is taken to grow with their
    multiply-accumulates, as seen in the one timed last; one that then fits is timed too.
    """
    work = [macs(space, space.largest) * good_passes(space) for space in spaces]
    at = len(spaces) - 1
    tried: dict[int, _Trial] = {}
    while at not in tried and len(tried) < MOST_TRIED:
        tried[at] = now = trial(spaces[at])
        affordable = work[at] * (all_s - now.beside_s) / now.good_s
        at = next((i for i, each in enumerate(work) if each <= affordable), len(spaces) - 1)
    fitting = [i for i, each in tried.items() if each.beside_s + each.good_s <= all_s]
    return tried[min(fitting, default=len(spaces) - 1)]


def good_passes(space: SearchSpace) -> float:
    """Passes over the images that a training of this space should have."""
    more = math.sqrt(params(space, space.largest) / GOOD_PASSES_WEIGHTS)
    return GOOD_PASSES * max(1.0, more)


def recipe_of(report: FolderReport, space: MobileSpace, seed: int) -> Recipe:
    """Everything but the phases' lengths.

    Raises:
        InputError: there are too few images.
    """
    held_out = held_out_of(report)
    trained = sum(report.train_counts) - held_out
    size = space.resolutions[-1]
    augmentation, shift = augmentation_of(report.classes, size, shifted=SHIFTED)
    mean, std = report.statistics(space.channels)
    return Recipe(
        name=space.name,
        dataset=str(report.folder.absolute()),
        seed=seed,
        holdout=held_out,
        holdout_by_class=True,
        batch_size=batch_size_for(trained),
        weight_decay=WEIGHT_DECAY,
        momentum=0.9,
        label_smoothing=0.05,
        shift=shift,
        mean=mean,
        std=tuple(max(value, 1e-3) for value in std),
        country="USA",
        space=space,
        phases=(Phase(name="full", epochs=1, learning_rate=0.1),),
        augmentation=augmentation,
    )


def held_out_of(report: FolderReport) -> int:
    """Training images that are held out.

    Raises:
        InputError: there are too few.
    """
    images, classes = sum(report.train_counts), len(report.classes)
    if images < 4:
        raise InputError(
            f"images {str(report.folder)!r}: expected at least 4 for training, got {images}"
        )
    few = max(round(HELD_OUT * images), images // 4)  # of few images a class, not five of each
    return min(held_out_count(images, classes), few)


def batch_size_for(images: int) -> int:
    """Images a step."""
    most = max(images // STEPS_PER_EPOCH, min(LEAST_BATCH, images // 2))
    return next(size for size in BATCH_SIZES if size <= max(most, BATCH_SIZES[-1]))


def _warnings(recipe: Recipe, passes: float, report: FolderReport) -> Iterator[str]:
    if passes < FEWEST_PASSES:
        yield (
            f"the time is enough for {passes:.1f} passes over the images, in work of the largest "
            f"network, where {GOOD_PASSES} are well: give more minutes"
        )
    images = sum(report.train_counts)
    error = 50 / math.sqrt(recipe.holdout)
    if error > 5:
        yield (
            f"{images} images for training are few: {recipe.holdout} of them are held out, and an "
            f"accuracy measured on so many has a standard error of up to {error:.0f} points; "
            "adapting a trained supernet needs fewer images"
        )

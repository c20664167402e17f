"""A trained supernet becomes searchable: as many subnets are measured as its predictor needs.

How many that is depends on the space and on the images, so it is found out: the predictor is fitted
to ever more subnets until leaving one out tells that more would help little, or that its error is
small beside that of the accuracies themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Bundle, Measured, add_to_bundle
from models.training import Recipe, StopSignals, running, training_folder, update_status
from service.catalog.supernets.measure_accuracy import FIT_SUBNETS, TEST_SUBNETS, measure_jobs
from service.catalog.supernets.predictor_fit import (
    base_predictor,
    fit_predictor,
    fit_to_rows,
    measured_rows,
)

SIZES = (70, 140, 280, 560, FIT_SUBNETS)
"""Subnets to fit to after which the predictor is judged. Beside six or so of them, one more is
measured that only tests it."""
TRANSFER_SIZES = (18, 35)
"""And before them, where the predictor of the supernet that it was adapted from starts it."""
TEST_SHARE = 7
"""At most one in so many networks of a small space tests."""
MIN_GAIN = 0.1
"""Share by which the error must have fallen when the number of subnets was doubled last."""
NOISE_SHARE, MIN_BOUND = 0.5, 0.1
"""An error is small enough at this share of the standard error of an accuracy measured on so many
images, or at so many percentage points."""
FIT_PROGRESS_SHARE = 0.2
"""Of the progress that is told, for the fit at the end."""

OnShare = Callable[[float, str], None]


def trained_before(recipe: Recipe, home: Path) -> Bundle | None:
    """The bundle of a finished training by this recipe that cannot be searched yet; None: there is
    none."""
    path = home / "supernets" / recipe.name
    if not (path / "card.json").is_file():
        return None
    bundle = Bundle.open(path)
    is_same = bundle.space == recipe.space and _is_by(bundle.card.get("recipe"), recipe)
    return bundle if is_same and not bundle.capabilities["search"] else None


def make_searchable(
    bundle: Bundle,
    home: Path,
    recipe: Recipe,
    *,
    threads: int = 1,
    stop: StopSignals | None = None,
    on_share: OnShare = lambda share, doing: None,
) -> Bundle:
    """Measure subnets until there are enough, and fit the predictor; resumable.

    Args:
        bundle: trained by `recipe`, in this home.
        stop: ends the work after the subnet that is being measured when a signal comes.

    Raises:
        NotFound: if the images are not on this machine.
        TrainingStopped: if a signal came.
    """
    stop, folder = stop or StopSignals(), training_folder(recipe, home)
    folder.mkdir(parents=True, exist_ok=True)

    def show(share: float, doing: str) -> None:
        stop.check("the trained supernet and all subnets measured so far are kept")
        on_share(share, doing)

    with running(folder), stop:
        update_status(folder, phase="predictor", finished=False, seconds_left=None)
        bundle, grown = _grow(bundle, home, threads, show)
        shares = (1 - FIT_PROGRESS_SHARE, FIT_PROGRESS_SHARE)
        bundle = fit_predictor(
            bundle,
            home,
            threads=threads,
            on_share=lambda share, doing: show(shares[0] + shares[1] * share, doing),
        )
        bundle = add_to_bundle(bundle, {"predictor": {**bundle.card["predictor"], **grown}}, {})
        update_status(folder, finished=True)
    return bundle


def _grow(bundle: Bundle, home: Path, threads: int, show: OnShare) -> tuple[Bundle, dict[str, Any]]:
    """The bundle with enough measured subnets, and why they are enough."""
    from models.bundle import subnets_to_measure  # needs torch

    tests = min(TEST_SUBNETS, bundle.space.cardinality // TEST_SHARE)
    jobs = subnets_to_measure(bundle.space, FIT_SUBNETS, tests, bundle.recipe["seed"])
    fit_places = [place for place, (_, split) in enumerate(jobs, 1) if split == "fit"]
    errors: dict[int, float] = {}
    said = ""

    def on_measured(done: int, total: int) -> None:
        words = f"{done} of at most {len(jobs)} subnets{said}"
        show((1 - FIT_PROGRESS_SHARE) * done / len(jobs), words)

    def left_out_error(bundle: Bundle, rows: list[Measured], done: int) -> float:
        target = "held-out images"
        predictor = fit_to_rows(bundle, rows, target, lambda _: on_measured(done, done), home=home)
        return predictor.provenance.rmse or 0.0

    sizes = SIZES if base_predictor(bundle, home) is None else (*TRANSFER_SIZES, *SIZES)
    for size in sorted({min(size, len(fit_places)) for size in sizes}):
        count = fit_places[size - 1]
        bundle = measure_jobs(bundle, home, jobs[:count], threads=threads, on_measured=on_measured)
        rows = measured_rows(bundle)
        errors[size] = left_out_error(bundle, rows, count)
        top1 = float(np.mean([row.top1 for row in rows]))
        bound = bound_of(top1, bundle.card["data"]["held_out_images"])
        said = f", error {errors[size]:.2f} points"
        if (why := why_stop([*errors.values()], bound)) is not None:
            break
    else:
        why = "all were measured"
    return bundle, {"measured_until": {"error_points": errors, "bound": bound, "because": why}}


def bound_of(top1: float, images: int) -> float:
    """Percentage points below which the error of a predictor is small, for accuracies of about
    `top1` percent on so many images."""
    share = min(max(top1 / 100, 0.0), 1.0)
    return max(MIN_BOUND, NOISE_SHARE * 100 * math.sqrt(share * (1 - share) / images))


def why_stop(errors: list[float], bound: float) -> str | None:
    """Why no more subnets need to be measured; None: more may help.

    Args:
        errors: left-out errors, percentage points, after ever more subnets.
    """
    if errors[-1] <= bound:
        return "the error is small beside that of an accuracy on so many images"
    if len(errors) > 1 and errors[-1] > (1 - MIN_GAIN) * errors[-2]:
        return "twice as many lowered the error little"
    return None


def _is_by(card: object, recipe: Recipe) -> bool:
    """Whether a card's recipe is `recipe`."""
    if not isinstance(card, Mapping):
        return False
    plain = json.loads(json.dumps(recipe.to_json()))
    return {**plain, "space": None} == {**card, "space": None}

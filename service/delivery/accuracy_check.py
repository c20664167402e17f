"""Whether a finished file is about as accurate as predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from models.errors import SubnetSearchError
from models.spaces import Arch
from service.catalog import DeploymentContext

TOLERATED_ERRORS = 4
"""Expected errors, that of the prediction and of the measurement together, by which a file may be
worse than predicted."""
TOLERATED_POINTS = 2.0
"""Percentage points by which it may be in any case."""


class Unverified(SubnetSearchError):
    """A finished model did not pass its checks."""


def described_top1(top1: float, images: int, precision: str) -> dict[str, Any]:
    """What is stated of an accuracy, percent, that was measured on so many images."""
    import onnxruntime

    return {
        "value": top1,
        "origin": "measured",
        # Standard error of a proportion measured on that many images.
        "expected_error": round(math.sqrt(top1 * (100 - top1) / images), 3),
        "expected_error_unit": "percentage points (standard error)",
        "images": images,
        "conditions": {
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "precision": precision,
        },
    }


def accuracy_warnings(
    context: DeploymentContext, arch: Arch, top1: Mapping[str, Any] | None
) -> list[str]:
    """What to know of a file whose accuracy was not measured, or is below the predicted one by less
    than fails it but by more than expected.

    Args:
        top1: as `ModelBuilder.top1` measured it.
    """
    if top1 is None:
        return [
            f"supernet {context.bundle.name!r} has no held-out images: the accuracy of this file "
            "was not measured"
        ]
    if (problem := far_below(context, arch, top1)) is not None:
        return [problem]
    return []


def check_accuracy(context: DeploymentContext, arch: Arch, top1: Mapping[str, Any] | None) -> None:
    """Refuse a file that is far less accurate than predicted.

    Raises:
        Unverified: if it is, saying what may be the reason.
    """
    if top1 is None or (problem := far_below(context, arch, top1)) is None:
        return
    raise Unverified(
        f"{problem}; nothing was delivered. Were batch norms recalibrated on enough images of "
        "every class (--calibration)? To have the file nevertheless: --allow-low-top1, over HTTP "
        '"allow_low_top1": true'
    )


def far_below(context: DeploymentContext, arch: Arch, top1: Mapping[str, Any]) -> str | None:
    """How far a measured accuracy is below the predicted one, in words; None if it is not.

    Predictions for the test images are moved back to the held-out images, which are measured here.
    Nothing is said where the supernet's card does not state what its predictor predicts.
    """
    stated = context.bundle.card.get("predictor")
    (row,) = context.predict([arch])
    if stated is None or row["top1"] is None or context.predictor is None:
        return None
    shift = stated.get("shift_to_test_images", {}).get("points", 0.0)
    predicted = row["top1"] - shift
    allowed = max(
        TOLERATED_POINTS,
        TOLERATED_ERRORS * math.hypot(context.top1_error or 0.0, top1["expected_error"]),
    )
    if top1["value"] >= predicted - allowed:
        return None
    precision = top1["conditions"]["precision"]
    return (
        f"top-1 is far below the predicted one: {top1['value']:.2f} % measured on "
        f"{top1['images']} held-out images at {precision}, {predicted:.2f} % predicted for them, "
        f"and at most {allowed:.2f} points less expected"
    )

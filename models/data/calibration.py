"""Whether images can stand for a data set when batch norms and int8 are calibrated on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ENOUGH_IMAGES = 128
"""Below it, a channel's mean and variance are uncertain and depend on which images were taken."""
LEAST_KEPT, KEPT_SHARE, MOST_KEPT = 256, 0.1, 1024
"""Training images that a trained supernet keeps: a share of them, within bounds."""
TEST_IMAGES_PER_HELD_OUT, LEAST_TEST_IMAGES = 5, 2000
"""Test images that subnets are measured on, where there are more: what the held-out images leave
uncertain is then more than twice what these do."""
FEW_CLASSES = 0.5
"""Share of the classes that as many images of a data set would show."""
OFF_CENTRE = 0.25
"""Largest usual difference of a channel's mean, in standard deviations of the data set."""
SPREAD_RANGE = (0.6, 1.67)
"""Usual ratio of a channel's standard deviation to the data set's."""


def calibration_warnings(
    images: npt.NDArray[np.uint8],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    classes: int | None,
    of_classes: int,
) -> list[str]:
    """What is odd about calibration images: too few, of too few classes, or unlike the data set.

    Args:
        images: (N, H, W) or (N, H, W, C).
        mean, std: of each channel of the data set, on the 0..1 scale.
        classes: how many classes the images are of; None where that is not known.
        of_classes: how many the network tells apart.
    """
    found = []
    count = len(images)
    if count < ENOUGH_IMAGES:
        found.append(
            f"calibration: {count} images; batch norms recalibrated on fewer than {ENOUGH_IMAGES} "
            "are uncertain, and accuracy can fall by many points: take 500 or more"
        )
    expected = of_classes * (1 - (1 - 1 / of_classes) ** count)
    if classes is not None and classes < FEW_CLASSES * expected:
        found.append(
            f"calibration: images of {classes} of {of_classes} classes, expected about "
            f"{expected:.0f} among {count} images: take images of every class"
        )
    pixels = images.reshape(count, -1, len(mean)).astype(np.float64) / 255
    for channel, (usual_mean, usual_std) in enumerate(zip(mean, std, strict=True)):
        values = pixels[..., channel]
        off, spread = abs(values.mean() - usual_mean) / usual_std, values.std() / usual_std
        if off > OFF_CENTRE or not SPREAD_RANGE[0] <= spread <= SPREAD_RANGE[1]:
            found.append(
                f"calibration: channel {channel} has mean {values.mean():.3f} and standard "
                f"deviation {values.std():.3f}, the data set {usual_mean:.3f} and {usual_std:.3f}: "
                "are these images of the same kind, and of every class?"
            )
    return found


def tested_count(images: int, held_out: int) -> int:
    """Of so many test images, how many are worth their time beside so many held-out ones."""
    return min(images, max(LEAST_TEST_IMAGES, TEST_IMAGES_PER_HELD_OUT * held_out))


def calibration_count(images: int) -> int:
    """Of so many training images, how many are kept to recalibrate batch norms with: recalibrating
    is most of what measuring a subnet takes."""
    return min(images, max(LEAST_KEPT, round(KEPT_SHARE * images)), MOST_KEPT)

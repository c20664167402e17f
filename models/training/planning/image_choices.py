"""What a recipe chooses by the images alone, whether it starts from a base or not."""

from __future__ import annotations

import string

from models.data import Augmentation

HELD_OUT, LEAST_HELD_OUT, MOST_HELD_OUT = 0.1, 5, 10_000
"""Share of the training images that is held out; at least so many a class, at most so many in
all."""
CROPPED_FROM, CROP_AREA = 48, 0.35
"""Input size from which on random crops are taken instead of shifts, pixels; the least share of an
image that a crop keeps."""
CHARACTERS = frozenset(string.ascii_letters + string.digits)


def held_out_count(images: int, classes: int) -> int:
    """Of so many training images, how many are held out."""
    return min(max(round(HELD_OUT * images), LEAST_HELD_OUT * classes), MOST_HELD_OUT)


def augmentation_of(
    classes: tuple[str, ...], size: int, *, shifted: int
) -> tuple[Augmentation, int]:
    """How training images are changed at random, and by how many pixels they are shifted.

    Args:
        size: the largest input, pixels.
        shifted: part of the side by which images are shifted at most that are too small for crops.
    """
    crops = size >= CROPPED_FROM
    how = Augmentation(flip=not are_characters(classes), crop_area=CROP_AREA if crops else 1.0)
    return how, 0 if crops else size // shifted


def are_characters(classes: tuple[str, ...]) -> bool:
    """Whether the classes are letters and digits, by their names: those must not be mirrored."""
    return set(classes) <= CHARACTERS

"""The images that a supernet was trained on, where they still are."""

from __future__ import annotations

from pathlib import Path

from models.bundle.bundle import Bundle
from models.data import Dataset, check_unchanged, load_dataset


def training_images(bundle: Bundle, cache: Path | None = None) -> Dataset:
    """The data set of a bundle's recipe, as it was when the supernet was trained.

    Args:
        cache: where decoded images are kept (`load_dataset`).

    Raises:
        NotFound: if it is not on this machine.
        InputError: if the supernet was not trained here.
        Conflict: if its images have changed since.
    """
    dataset = load_dataset(bundle.recipe["dataset"], bundle.space, cache)
    check_unchanged(dataset, bundle.card.get("data", {}), f"supernet {bundle.name!r}")
    return dataset

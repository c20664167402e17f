"""Adapting a supernet to classes that it never saw, against training on them from scratch."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.datasets import FASHION_CLASSES
from models.data.images import load_fashion_mnist

UNSEEN = (2, 4, 6)


def write_folder(folder: Path, classes: list[int], per_class: int | None) -> None:
    """Images of Fashion-MNIST as class folders under `folder/train` and `folder/test`."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    for side, data in zip(("train", "test"), load_fashion_mnist(), strict=True):
        for label in classes:
            rows = np.flatnonzero(data.labels == label)
            if side == "train":
                rows = rows[:per_class]
            place = partial / side / FASHION_CLASSES[label].lower().replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            for row in rows:
                Image.fromarray(data.images[row]).save(place / f"{row:05}.png", compress_level=1)
    partial.rename(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    unseen = list(UNSEEN)
    write_folder(args.folder / "seen", [c for c in range(10) if c not in unseen], None)
    write_folder(args.folder / "unseen", unseen, 100)

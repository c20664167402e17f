"""Data sets that a recipe can name: Fashion-MNIST, or a folder of a user's own images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.data.image_folder import image_files, load_images, warn_of_colour
from models.data.images import LabelledImages, load_fashion_mnist
from models.errors import InputError, NotFound
from models.spaces import SearchSpace

FASHION_MNIST = "fashion-mnist"
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MAX_BYTES = 8 << 30
"""Images are held in memory."""

FASHION_MNIST_NOTICE = """\
The images in calibration.npz and validation.npz are from Fashion-MNIST
(Han Xiao, Kashif Rasul, Roland Vollgraf, arXiv 1708.07747), under this licence:

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software
and associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training and test images, and what a bundle's card says of them."""

    train: LabelledImages
    test: LabelledImages
    name: str
    source: str
    licence: str
    classes: tuple[str, ...]
    notices: Mapping[str, bytes] = field(default_factory=dict)
    """Files that must accompany copies of the images."""


def load_dataset(name: str, space: SearchSpace) -> Dataset:
    """The data set of a recipe.

    Args:
        name: "fashion-mnist", or a folder with `train` and `test` in it and in each of them one
            folder a class. Its images are resized to the largest resolution of `space`.

    Raises:
        NotFound: if it is not on this machine.
        InputError: if it does not fit the space, or an image cannot be read.
    """
    if name == FASHION_MNIST:
        train, test = load_fashion_mnist()
        notices = {"FASHION-MNIST-LICENSE.txt": FASHION_MNIST_NOTICE.encode()}
        found = Dataset(
            train, test, "Fashion-MNIST", "arXiv 1708.07747", "MIT", FASHION_CLASSES, notices
        )
    else:
        found = _from_folder(Path(name), space)
    if len(found.classes) != space.classes:
        raise InputError(
            f"dataset {name!r}: space {space.name!r} has {space.classes} classes, the data "
            f"{len(found.classes)}: {', '.join(found.classes[:10])}"
        )
    channels = 1 if found.train.images.ndim == 3 else found.train.images.shape[3]
    if channels != space.channels:
        raise InputError(
            f"dataset {name!r}: space {space.name!r} has {space.channels} channels, the data "
            f"{channels}"
        )
    if name != FASHION_MNIST:
        files = image_files(Path(name) / "train")
        warn_of_colour(files, channels=channels, folder=Path(name))
    return found


def _from_folder(folder: Path, space: SearchSpace) -> Dataset:
    if not (folder / "train").is_dir() or not (folder / "test").is_dir():
        raise NotFound(
            f"dataset {str(folder)!r}: expected 'fashion-mnist', or a folder with train and test "
            "in it, one folder a class in each"
        )
    classes = tuple(sorted(p.name for p in (folder / "train").iterdir() if p.is_dir()))
    train, test = (_split(folder / split, classes, space) for split in ("train", "test"))
    return Dataset(train, test, folder.name, "a folder of the user's", "the user's own", classes)


def _split(folder: Path, classes: tuple[str, ...], space: SearchSpace) -> LabelledImages:
    files = image_files(folder)
    for path in files:
        if path.parent.name not in classes or path.parent == folder:
            raise InputError(
                f"dataset: {path} is in none of the class folders of train: {', '.join(classes)}"
            )
    size = space.resolutions[-1]
    if (needed := len(files) * size * size * space.channels) > MAX_BYTES:
        raise InputError(
            f"dataset {str(folder)!r}: {len(files)} images of {size} x {size} need {needed:.3g} "
            f"bytes of memory, at most {MAX_BYTES:.3g} are held: use fewer, or a smaller space"
        )
    labels = np.array([classes.index(path.parent.name) for path in files], np.int64)
    images = load_images(files, channels=space.channels, size=size)
    return LabelledImages(images, labels)

"""Data sets that a recipe can name: Fashion-MNIST, or a folder of a user's own images."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.image_cache import DecodedFiles, OnShare, decode_files
from models.data.image_folder import JUDGED, warn_of_colour
from models.data.image_parts import damage_text
from models.data.images import ImageRows, LabelledImages, load_fashion_mnist
from models.data.listing import EXPECTED, ImageFolder, listed, open_image_folder
from models.data.splits import split_rows
from models.errors import Conflict, InputError, InputWarning, NotFound
from models.spaces import SearchSpace

FASHION_MNIST, FASHION_NAME = "fashion-mnist", "Fashion-MNIST"
"""In recipes, and on cards."""
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
    sha256: str
    """Of the names of the classes, and of label and content of every image, in their order."""
    notices: Mapping[str, bytes] = field(default_factory=dict)
    """Files that must accompany copies of the images."""


def load_dataset(
    name: str,
    space: SearchSpace,
    cache: Path | None = None,
    on_share: OnShare = lambda share, doing: None,
) -> Dataset:
    """The data set of a recipe.

    Args:
        name: "fashion-mnist", or a folder with one folder a class, or with `train` and `test` and
            in each of them one folder a class. Its images are resized to the largest resolution of
            `space`; without a test folder, a fifth of each class is for tests (`split_rows`).
        cache: folder in which the decoded images of folders are kept, to be mapped into memory;
            None: they are decoded into memory.
        on_share: told how much of a folder is decoded.

    Raises:
        NotFound: if it is not on this machine.
        InputError: if it does not fit the space, or too many images are damaged.
    """
    if name == FASHION_MNIST:
        train, test = load_fashion_mnist()
        _check_classes(name, space, FASHION_CLASSES)
        found = Dataset(
            train,
            test,
            FASHION_NAME,
            "arXiv 1708.07747",
            "MIT",
            FASHION_CLASSES,
            _sha256(FASHION_CLASSES, train.labels, train.images[:], test.labels, test.images[:]),
            {"FASHION-MNIST-LICENSE.txt": FASHION_MNIST_NOTICE.encode()},
        )
    elif Path(name).is_dir():
        found = _from_folder(Path(name), space, cache, on_share)
    else:
        raise NotFound(f"dataset {name!r}: expected 'fashion-mnist', or a folder: {EXPECTED}")
    channels = 1 if found.train.images.ndim == 3 else found.train.images.shape[3]
    if channels != space.channels:
        raise InputError(
            f"dataset {name!r}: space {space.name!r} has {space.channels} channels, the data "
            f"{channels}"
        )
    return found


def check_classes(dataset: Dataset, trained: LabelledImages) -> None:
    """Check that each class has an image to train on.

    Raises:
        InputError: if all of a class are held out.
    """
    counts = np.bincount(trained.labels, minlength=len(dataset.classes))
    if empty := [dataset.classes[label] for label in np.flatnonzero(counts == 0)]:
        raise InputError(
            f"recipe.holdout: the images held out are all that there are of {listed(empty)}: add "
            "`holdout_by_class = true` to the recipe, or hold out fewer"
        )


def state_images(
    dataset: Dataset, trained: LabelledImages, held_out: LabelledImages
) -> dict[str, Any]:
    """What a checkpoint and a card state of the images, for `check_unchanged`."""
    return {
        "classes": list(dataset.classes),
        "training_images": len(trained),
        "held_out_images": len(held_out),
        "images_sha256": dataset.sha256,
    }


def check_unchanged(dataset: Dataset, stated: Mapping[str, Any], what: str) -> None:
    """Check that a data set is the one that something was trained on: images that were held out
    are drawn again from it, and labels are positions among its classes.

    Warns (`InputWarning`) where that is not known, as of trainings of earlier versions.

    Args:
        stated: of the training, by `state_images`; a card's "data" has it too.
        what: was trained, for the message.

    Raises:
        Conflict: if it is another one.
    """
    if stated.get("images_sha256") == dataset.sha256:
        return
    where = f"the images of {dataset.name!r}"
    then, count = stated.get("classes"), len(dataset.train)
    counts: list[Any] = [stated.get(name) for name in ("training_images", "held_out_images")]
    trained = sum(counts) if all(isinstance(each, int) for each in counts) else None
    if isinstance(then, list) and list(dataset.classes) != then:
        now, were = set(dataset.classes), set(map(str, then))  # a card may have been edited
        new, gone = now - were, were - now
        change = f"new classes: {listed(new) or 'none'}, gone: {listed(gone) or 'none'}"
    elif trained is not None and count != trained:
        change = f"{count} are for training, and {trained} were"
    elif "images_sha256" in stated:
        change = "some have another content, class or place in the order of names"
    else:
        if dataset.name != FASHION_NAME:
            text = f"{what} is of an earlier version, and does not state whether {where} are those"
            warnings.warn(f"{text} that it was trained on", InputWarning, stacklevel=2)
        return
    raise Conflict(
        f"{what}: {where} are not those that it was trained on: {change}: put them back as they "
        "were, or train anew"
    )


def _sha256(classes: tuple[str, ...], *parts: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(json.dumps([classes, [part.shape for part in parts]]).encode())
    for part in parts:
        digest.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _check_classes(name: str, space: SearchSpace, classes: tuple[str, ...]) -> None:
    if len(classes) != space.classes:
        raise InputError(
            f"dataset {name!r}: space {space.name!r} has {space.classes} classes, the data "
            f"{len(classes)}: {', '.join(classes[:10])}"
        )


def _from_folder(path: Path, space: SearchSpace, cache: Path | None, on_share: OnShare) -> Dataset:
    folder = open_image_folder(path)
    if folder.problems:
        raise InputError(f"dataset {str(path)!r}: {'; '.join(folder.problems)}")
    _check_classes(str(path), space, folder.classes)
    decoded = decode_files(
        path,
        folder.files,
        channels=space.channels,
        size=space.resolutions[-1],
        cache=cache,
        on_share=on_share,
    )
    if decoded.damaged:
        text = damage_text(path, folder.files, decoded.damaged)
        warnings.warn(text, InputWarning, stacklevel=2)
    train, test = _sides(folder, decoded)
    known = [each[rows] for rows in (train, test) for each in (folder.labels, decoded.digests)]
    judged = train[np.random.default_rng(0).permutation(len(train))[:JUDGED]]
    files = [path.joinpath(*folder.files[row].parts) for row in judged]
    warn_of_colour(files, channels=space.channels, folder=path)
    source, licence = "a folder of the user's", "the user's own"
    sides = [_labelled(decoded, folder, rows, on_disk=cache is not None) for rows in (train, test)]
    sha256 = _sha256(folder.classes, *known)
    return Dataset(sides[0], sides[1], path.name, source, licence, folder.classes, sha256)


def _sides(
    folder: ImageFolder, decoded: DecodedFiles
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of the training and of the test images, without the damaged ones.

    Raises:
        InputError: if a class is left without training images, or none are for tests.
    """
    rows = np.setdiff1d(np.arange(len(folder.files)), list(decoded.damaged))
    labels = folder.labels[rows]
    if folder.is_test is None:
        is_test = split_rows(labels, decoded.digests[rows])
    else:
        is_test = folder.is_test[rows]
    counts = np.bincount(labels[~is_test], minlength=len(folder.classes))
    where = f"dataset {str(folder.path)!r}"
    if empty := [folder.classes[label] for label in np.flatnonzero(counts == 0)]:
        raise InputError(f"{where}: no whole training images of {listed(empty)}")
    if not is_test.any():
        raise InputError(f"{where}: no image is left for tests: add more images, or a test folder")
    return rows[~is_test], rows[is_test]


def _labelled(
    decoded: DecodedFiles, folder: ImageFolder, rows: npt.NDArray[np.int64], *, on_disk: bool
) -> LabelledImages:
    images = ImageRows(decoded.images, rows) if on_disk else decoded.images[rows]
    return LabelledImages(images, folder.labels[rows])

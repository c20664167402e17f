"""Images in memory or on disk: Fashion-MNIST from its IDX files, splits, augmentation.

Images are `uint8` arrays (N, H, W), with colour (N, H, W, C); pixels become floats only in a batch.
"""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InputError, NotFound

FASHION_MNIST_FOLDERS = ("/usr/share/datasets/fashion-mnist",)
"""Where Debian's package `dataset-fashion-mnist` puts the four files."""


@dataclass(frozen=True, slots=True)
class ImageRows:
    """Rows of an array on disk, in an order of their own; they are read when they are asked for.

    Indexed by a slice or by row numbers, it gives what `base[rows]` would, for those alone.
    """

    base: npt.NDArray[np.uint8]
    """(M, H, W) or (M, H, W, C), mapped from a file."""
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """A copy in memory."""
        return self.base[self.rows[rows]]

    @property
    def shape(self) -> tuple[int, ...]:
        """As that of an array."""
        return (len(self.rows), *self.base.shape[1:])

    @property
    def ndim(self) -> int:
        """As that of an array: 3 for grey, 4 for colour."""
        return self.base.ndim


Images = npt.NDArray[np.uint8] | ImageRows
"""(N, H, W) or (N, H, W, C) uint8, in memory or on disk: take a part, and it is an array."""


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """`images` (N, H, W) or (N, H, W, C) uint8 and `labels` (N,) int64."""

    images: Images
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> LabelledImages:
        """The images at `rows`; of images on disk, nothing is read yet."""
        if isinstance(self.images, ImageRows):
            part: Images = ImageRows(self.images.base, self.images.rows[rows])
        else:
            part = self.images[rows]
        return LabelledImages(part, self.labels[rows])


def load_fashion_mnist(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """The 60,000 training and 10,000 test images (Xiao et al. 2017, MIT licence).

    Args:
        folder: where the four `.gz` files are; default `SUBNET_FASHION_MNIST`, else the place
            of Debian's package `dataset-fashion-mnist`.

    Raises:
        NotFound: if no such folder exists, saying how to get the data.
        InputError: if a file is not what its name says.
    """
    named = folder or os.environ.get("SUBNET_FASHION_MNIST")
    candidates = [Path(named)] if named else [Path(place) for place in FASHION_MNIST_FOLDERS]
    for place in candidates:
        if (place / "train-images-idx3-ubyte.gz").exists():
            return _pair(place, "train", 60_000), _pair(place, "t10k", 10_000)
    raise NotFound(
        f"Fashion-MNIST not found in {', '.join(map(str, candidates))}: install the Debian "
        "package dataset-fashion-mnist, or name a folder with its four .gz files in "
        "SUBNET_FASHION_MNIST"
    )


def hold_out(
    data: LabelledImages, count: int, seed: int, *, by_class: bool = False
) -> tuple[LabelledImages, LabelledImages]:
    """Split into (training, validation) with `count` validation images, by a seeded shuffle.

    Args:
        by_class: about the same share of each class is for validation, and at least one image of
            each for training; otherwise the shuffle alone decides, and may take all of a class.

    Raises:
        InputError: if there are too few images for that.
    """
    kept = len(np.unique(data.labels)) if by_class else 1
    if count > len(data) - kept:
        for_each = ", one of each class left for training" if by_class else ""
        raise InputError(
            f"holdout: expected at most {len(data) - kept} of the {len(data)} training "
            f"images{for_each}, got {count}"
        )
    order = np.random.default_rng([seed, count]).permutation(len(data))
    if by_class:
        order = order[np.argsort(_place_in_class(data.labels[order]), kind="stable")]
    return data.take(np.sort(order[count:])), data.take(np.sort(order[:count]))


def _place_in_class(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(N,) where each image comes among those of its class, a share of them; the last has 1."""
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    places = np.empty(len(labels))
    starts, each = (np.cumsum(sizes) - sizes)[labels[by_class]], sizes[labels[by_class]]
    place = np.arange(len(labels)) - starts
    places[by_class] = np.where(place == each - 1, 1.0, (place + 0.5) / each)
    return places


def augment(
    images: npt.NDArray[np.uint8], flip: npt.NDArray[np.bool_], shift: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Mirror the images marked in `flip` and move each by up to `shift` pixels (zero fill).

    Args:
        images: (B, H, W) or (B, H, W, C) uint8.
        flip: (B,) bool.
    """
    count, height, width = images.shape[:3]
    edges = [(0, 0), (shift, shift), (shift, shift), (0, 0)]
    padded = np.pad(images, edges[: images.ndim])
    top, left = rng.integers(0, 2 * shift + 1, (2, count))
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.arange(width)
    columns = np.where(flip[:, None], columns[:, ::-1], columns)
    moved: npt.NDArray[np.uint8] = padded[
        np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]
    ]
    return moved


def to_tensor(
    images: npt.NDArray[np.uint8],
    resolution: int,
    mean: Sequence[float],
    std: Sequence[float],
    antialias: bool = True,
) -> Tensor:
    """Normalized (B, C, resolution, resolution) float32 tensor, bilinear.

    Used in training; the same as `models.data.preprocessing` up to its rounding to grey levels.
    """
    x_BHWC = torch.from_numpy(images if images.ndim == 4 else images[..., None])
    x_BCHW = x_BHWC.permute(0, 3, 1, 2).float().contiguous().div_(255)
    if resolution != x_BCHW.shape[-1]:
        size = (resolution, resolution)
        x_BCHW = F.interpolate(x_BCHW, size=size, mode="bilinear", antialias=antialias)
    return x_BCHW.sub_(torch.tensor(mean).view(-1, 1, 1)).div_(torch.tensor(std).view(-1, 1, 1))


def _pair(folder: Path, split: str, count: int) -> LabelledImages:
    images = _read_idx(folder / f"{split}-images-idx3-ubyte.gz", (count, 28, 28))
    labels = _read_idx(folder / f"{split}-labels-idx1-ubyte.gz", (count,))
    return LabelledImages(images, labels.astype(np.int64))


def _read_idx(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """One file in LeCun's IDX format: magic (type 8, rank), big-endian sizes, bytes."""
    try:
        raw = gzip.decompress(path.read_bytes())
        found = struct.unpack(f">{len(shape) + 1}I", raw[: 4 * (len(shape) + 1)])
    except (OSError, EOFError, struct.error) as error:
        raise InputError(f"{path.name}: not a readable IDX file ({error})") from error
    if found != (0x800 + len(shape), *shape):
        raise InputError(f"{path.name}: expected IDX sizes {shape}, got {found[1:]}")
    return np.frombuffer(raw, np.uint8, offset=4 * (len(shape) + 1)).reshape(shape)

"""Augmentation as the field does it, on whole batches of 8-bit images.

Random resized crops (Szegedy et al., arXiv 1409.4842), TrivialAugment (Mueller and Hutter, arXiv
2103.10158), mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899). Operations on colours give the
pixels of Pillow's `ImageEnhance` and `ImageOps`; all movements of an image are one bilinear
resampling. Shapes: B images, H x W pixels, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Interval
from torch.nn import functional as F

from models.schema import STRICT

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

ASPECT = (3 / 4, 4 / 3)
"""Of a random crop, width by height."""
STRENGTHS = 31
"""Strengths of an operation, from nothing to `LARGEST`, as published."""
LARGEST = {"shear": 0.99, "translate": 0.45, "rotate": np.deg2rad(135), "blend": 0.99}
"""Strongest; a translation is a share of the side, as in timm, since the published number of pixels
is for one size of images."""
MOVES = ("shear-x", "shear-y", "translate-x", "translate-y", "rotate")
BLENDS = ("brightness", "contrast", "color", "sharpness")
OPERATIONS = ("identity", *MOVES, *BLENDS, "posterize", "solarize", "autocontrast", "equalize")
"""Those of TrivialAugment; each image gets one."""
LEAST_BITS = 2
"""That posterizing leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is done to training images besides `shift`; by default they are mirrored alone."""

    __pydantic_config__ = STRICT

    flip: bool = True
    """Mirror half of the images left to right."""
    crop_area: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Least share of an image that a random crop keeps, resized to the whole; 1: no crops."""
    policy: Literal["none", "trivial"] = "none"
    """"trivial": TrivialAugment."""
    mixup: Annotated[float, Interval(ge=0, le=10)] = 0.0
    """Alpha of mixup's Beta distribution; 0: not used."""
    cutmix: Annotated[float, Interval(ge=0, le=10)] = 0.0
    """Alpha of CutMix's; 0: not used. Where both are, a step uses one of them."""

    @property
    def changes_images(self) -> bool:
        """Whether more is done than mirroring."""
        return self.crop_area < 1 or self.policy != "none" or self.mixes

    @property
    def mixes(self) -> bool:
        """Whether images and labels of a batch are mixed."""
        return self.mixup > 0 or self.cutmix > 0


def transform(images: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """Crop images at random, and change each by the policy; neither draws from `rng` when off.

    Args:
        images: (B, H, W) or (B, H, W, C), H = W.

    Returns:
        A new array, or `images` itself where nothing is to be done.
    """
    if how.crop_area == 1 and how.policy == "none":
        return images
    count = len(images)
    matrices_B23 = np.tile(np.eye(2, 3), (count, 1, 1))
    chosen, strengths = np.zeros(count, np.int64), np.zeros(count)
    if how.policy == "trivial":
        chosen = rng.integers(0, len(OPERATIONS), count)
        strengths = rng.integers(0, STRENGTHS, count) / (STRENGTHS - 1)
        signs = np.where(rng.random(count) < 0.5, -1.0, 1.0)
        matrices_B23 = movements(chosen, strengths * signs)
    if how.crop_area < 1:
        matrices_B23 = _after_crop(crops(count, how.crop_area, rng), matrices_B23)
    images_BHWC = images if images.ndim == 4 else images[..., None]
    moved = np.flatnonzero((matrices_B23 != np.eye(2, 3)).any((1, 2)))
    changed = images_BHWC.copy()
    changed[moved] = resample(images_BHWC[moved], matrices_B23[moved])
    if how.policy == "trivial":
        for index, name in enumerate(OPERATIONS):
            rows = np.flatnonzero(chosen == index)
            if len(rows) and name not in ("identity", *MOVES):
                part_signs = signs[rows] if name in BLENDS else np.ones(len(rows))
                changed[rows] = recolour(changed[rows], name, strengths[rows] * part_signs)
    return changed.reshape(images.shape)


def mix(
    images: Pixels,
    labels: npt.NDArray[np.int64],
    classes: int,
    how: Augmentation,
    rng: np.random.Generator,
) -> tuple[Pixels, npt.NDArray[np.int64] | npt.NDArray[np.float32]]:
    """Mix every image with its neighbour in the batch, by mixup or by CutMix.

    Returns:
        The images, and the labels: (B, K) float32 shares; (B,) as they were, where nothing is
        mixed.
    """
    if not how.mixes:
        return images, labels
    cuts = how.mixup == 0 or (how.cutmix > 0 and rng.random() < 0.5)
    alpha = how.cutmix if cuts else how.mixup
    own = float(rng.beta(alpha, alpha))
    others = np.roll(images, 1, axis=0)
    if cuts:
        height, width = images.shape[1:3]
        top, bottom, left, right = _box(height, width, 1 - own, rng)
        mixed = images.copy()
        mixed[:, top:bottom, left:right] = others[:, top:bottom, left:right]
        own = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        blended = images * np.float32(own) + others * np.float32(1 - own)
        mixed = (blended + np.float32(0.5)).astype(np.uint8)
    shares = np.eye(classes, dtype=np.float32)[labels]
    return mixed, shares * np.float32(own) + np.roll(shares, 1, axis=0) * np.float32(1 - own)


def crops(count: int, least_area: float, rng: np.random.Generator) -> Floats:
    """Random crops (B, 4): width, height, left, top, as shares of the side."""
    area = rng.uniform(least_area, 1, count)
    aspect = np.exp(rng.uniform(np.log(ASPECT[0]), np.log(ASPECT[1]), count))
    aspect = np.clip(aspect, area, 1 / area)  # so that no side is longer than the image's
    width, height = np.sqrt(area * aspect), np.sqrt(area / aspect)
    left, top = rng.random((2, count)) * (1 - np.stack([width, height]))
    return np.stack([width, height, left, top], axis=1)


def movements(chosen: npt.NDArray[np.int64], strengths: Floats) -> Floats:
    """Matrices (B, 2, 3) from a pixel's place to where it comes from, of the square from -1 to 1.

    Args:
        chosen: (B,), positions in `OPERATIONS`; those that move nothing give the identity.
        strengths: (B,), from -1 to 1.
    """
    matrices = np.tile(np.eye(2, 3), (len(chosen), 1, 1))
    for name, (row, column), largest in (
        ("shear-x", (0, 1), LARGEST["shear"]),
        ("shear-y", (1, 0), LARGEST["shear"]),
        ("translate-x", (0, 2), 2 * LARGEST["translate"]),
        ("translate-y", (1, 2), 2 * LARGEST["translate"]),
    ):
        mine = chosen == OPERATIONS.index(name)
        matrices[mine, row, column] = strengths[mine] * largest
    mine = chosen == OPERATIONS.index("rotate")
    angles = strengths[mine] * LARGEST["rotate"]
    cosines, sines = np.cos(angles), np.sin(angles)
    matrices[mine, :, :2] = np.stack([cosines, sines, -sines, cosines], axis=1).reshape(-1, 2, 2)
    return matrices


def resample(images: Pixels, matrices: Floats) -> Pixels:
    """Move images (B, H, W, C) by matrices (B, 2, 3): bilinear, black where there was no image."""
    if not len(images):
        return images
    x_BCHW = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    theta = torch.from_numpy(matrices).float()
    grid = F.affine_grid(theta, list(x_BCHW.shape), align_corners=False)
    moved = F.grid_sample(x_BCHW, grid, mode="bilinear", align_corners=False)
    pixels: Pixels = moved.permute(0, 2, 3, 1).add_(0.5).to(torch.uint8).contiguous().numpy()
    return pixels


def recolour(images: Pixels, name: str, strengths: Floats) -> Pixels:
    """Apply one operation that moves nothing to images (B, H, W, C).

    Args:
        name: of `OPERATIONS`.
        strengths: (B,), from 0 to 1; of `BLENDS`, from -1 to 1.
    """
    if name in BLENDS:
        factors = 1 + strengths * LARGEST["blend"]
        return _blend(_blend_from(images, name), images, factors)
    return _look_up(images, _tables(images, name, strengths))


def _after_crop(crops_B4: Floats, matrices: Floats) -> Floats:
    """The movement first, then the crop's place in the source."""
    scale, corner = crops_B4[:, :2], crops_B4[:, 2:]
    centre = 2 * corner + scale - 1
    combined = matrices * scale[:, :, None]
    combined[:, :, 2] += centre
    return combined


def _box(
    height: int, width: int, area: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box of a share of the area around a random place, cut at the edges."""
    side = np.sqrt(area)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    tall, wide = round(height * side / 2), round(width * side / 2)
    return max(0, y - tall), min(height, y + tall), max(0, x - wide), min(width, x + wide)


def _grey(images: Pixels) -> npt.NDArray[np.int64]:
    """(B, H, W), as Pillow turns colour to grey (ITU-R 601-2)."""
    if images.shape[3] == 1:
        return images[..., 0].astype(np.int64)
    red, green, blue = (images[..., channel].astype(np.int64) for channel in range(3))
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def _blend_from(images: Pixels, name: str) -> npt.NDArray[np.int64]:
    """What an image is blended with, which broadcasts to (B, H, W, C): black, its mean grey,
    itself in grey, or smoothed."""
    if name == "brightness":
        return np.zeros((1, 1, 1, 1), np.int64)
    if name == "sharpness":
        return _smooth(images)
    grey_BHW = _grey(images)
    if name == "color":
        return grey_BHW[..., None]
    mean_grey: npt.NDArray[np.int64] = (grey_BHW.mean((1, 2)) + 0.5).astype(np.int64)
    return mean_grey[:, None, None, None]


def _smooth(images: Pixels) -> npt.NDArray[np.int64]:
    """Pillow's filter SMOOTH, which leaves the edge as it is."""
    wide: npt.NDArray[np.int64] = images.astype(np.int64)
    inner = wide[:, 1:-1, 1:-1] * 4
    height, width = images.shape[1:3]
    for y in range(3):
        for x in range(3):
            inner += wide[:, y : height - 2 + y, x : width - 2 + x]
    wide[:, 1:-1, 1:-1] = (2 * inner + 13) // 26
    return wide


def _blend(start: npt.NDArray[np.int64], images: Pixels, factors: Floats) -> Pixels:
    """`start + factor * (image - start)`, cut to 0..255 and rounded down, as `Image.blend`."""
    factor = factors.astype(np.float32)[:, None, None, None]
    from_BHWC = start.astype(np.float32)
    blended = from_BHWC + factor * (images.astype(np.float32) - from_BHWC)
    return np.clip(blended, 0, 255).astype(np.uint8)


def _tables(images: Pixels, name: str, strengths: Floats) -> Pixels:
    """For every image and channel the new value of each value, (B, C, 256)."""
    count, channels = len(images), images.shape[3]
    values = np.arange(256)
    if name == "posterize":
        bits = 8 - np.round(strengths * (8 - LEAST_BITS)).astype(np.int64)
        table = values & ~(2 ** (8 - bits[:, None]) - 1)
    elif name == "solarize":
        table = np.where(values < 255 * (1 - strengths[:, None]), values, 255 - values)
    else:
        histogram = _histogram(images)
        made = _autocontrast(histogram) if name == "autocontrast" else _equalize(histogram)
        return made.astype(np.uint8)
    return np.broadcast_to(table[:, None], (count, channels, 256)).astype(np.uint8)


def _look_up(images: Pixels, tables: Pixels) -> Pixels:
    return tables.ravel()[_places(images)]


def _places(images: Pixels) -> npt.NDArray[np.int64]:
    """The place of every value in an array (B, C, 256)."""
    count, channels = len(images), images.shape[3]
    start = np.arange(count * channels).reshape(count, 1, 1, channels) * 256
    places: npt.NDArray[np.int64] = start + images.astype(np.int64)
    return places


def _histogram(images: Pixels) -> npt.NDArray[np.int64]:
    count, channels = len(images), images.shape[3]
    found = np.bincount(_places(images).ravel(), minlength=count * channels * 256)
    return found.reshape(count, channels, 256)


def _autocontrast(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The darkest value becomes 0 and the brightest 255."""
    seen = histogram > 0
    low, high = seen.argmax(2)[..., None], 255 - seen[..., ::-1].argmax(2)[..., None]
    scale = 255 / np.maximum(high - low, 1)
    values = np.arange(256)
    stretched = np.clip(values * scale + -low * scale, 0, 255)
    table: npt.NDArray[np.int64] = np.where(high > low, stretched.astype(np.int64), values)
    return table


def _equalize(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Every value becomes about as frequent as every other."""
    values = np.arange(256)
    last = 255 - (histogram[..., ::-1] > 0).argmax(2)[..., None]
    step = (histogram.sum(2, keepdims=True) - np.take_along_axis(histogram, last, 2)) // 255
    before = np.cumsum(histogram, axis=2) - histogram
    flattened = np.minimum((step // 2 + before) // np.maximum(step, 1), 255)
    table: npt.NDArray[np.int64] = np.where(step > 0, flattened, values)
    return table

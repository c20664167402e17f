"""Spaces to choose from for a user's images, from the most work to the least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.data import FolderReport
from models.errors import InputError
from models.spaces import MobileSpace, StageSpec, make_divisible
from models.training.time_left import macs

SIZES = (224, 192, 160, 128, 96, 80, 64, 48, 40, 32, 28, 24, 20, 16, 12, 8)
"""Largest input sizes to choose from, pixels."""
LEAST_SHARE, LEAST_SIZE = 0.25, 32
"""Of the images' side, and pixels, below which no largest input size is taken."""
FINAL_SIZE = 3.5
"""Least height and width of the last feature map, pixels."""


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a space that do not depend on the images."""

    channels: tuple[int, ...]
    """Of each stage, at width 1."""
    head: int
    features: int
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    depths: tuple[int, ...]
    squeezed: tuple[int, ...]
    """Stages with squeeze-and-excitation."""
    strides: tuple[tuple[int, tuple[int, ...]], ...]
    """Of stem and stages, by how often height and width are halved, from once on."""


DEEP = Form(
    channels=(16, 24, 40, 56, 80),
    head=480,
    features=512,
    kernels=(3, 5, 7),
    expands=(3, 4, 6),
    depths=(2, 3, 4),
    squeezed=(1, 3, 4),
    strides=(
        (1, (1, 1, 2, 1, 1)),
        (1, (2, 1, 2, 1, 1)),
        (1, (2, 1, 2, 1, 2)),
        (2, (2, 1, 2, 1, 2)),
        (2, (2, 2, 2, 1, 2)),
    ),
)
"""That of the supernet that comes with the program."""
SHALLOW = Form(
    channels=(24, 48, 96),
    head=384,
    features=256,
    kernels=(3, 5),
    expands=(2, 3, 4),
    depths=(1, 2, 3),
    squeezed=(),
    strides=((1, (1, 1, 2)), (1, (1, 2, 2)), (1, (2, 2, 2)), (2, (2, 2, 2))),
)
"""Learns in minutes: at most nine blocks, all cheap."""
CHOICES = (
    *((DEEP, width) for width in (1.5, 1.25, 1.0, 0.75)),
    *((SHALLOW, width) for width in (1.5, 1.0, 0.67, 0.5)),
)


def candidates(report: FolderReport, name: str) -> list[MobileSpace]:
    """Those that fit the images, the largest first.

    Raises:
        InputError: the images are too small.
    """
    side = side_of(report)
    least = max(LEAST_SHARE * min(side, SIZES[0]), LEAST_SIZE)
    sizes = [size for size in SIZES if least <= size <= side] or [s for s in SIZES if s <= side][:1]
    if not sizes:
        raise InputError(
            f"images {str(report.folder)!r}: expected at least {SIZES[-1]} pixels a side, "
            f"got {side} (median)"
        )
    spaces = [
        space_for(
            form,
            name,
            channels=report.channels,
            classes=len(report.classes),
            size=size,
            width=width,
        )
        for size in sizes
        for form, width in CHOICES
    ]
    return sorted(spaces, key=lambda space: macs(space, space.largest), reverse=True)


def side_of(report: FolderReport) -> int:
    """Of the shorter side of the median image, pixels."""
    return min(report.width.median, report.height.median)


def space_for(
    form: Form, name: str, *, channels: int, classes: int, size: int, width: float
) -> MobileSpace:
    """A MobileNetV3-like space for images of `size` pixels."""
    halvings = min(max(int(math.log2(size / FINAL_SIZE)), 1), len(form.strides))
    stem_stride, strides = form.strides[halvings - 1]
    return MobileSpace(
        name=name,
        channels=channels,
        classes=classes,
        resolutions=resolutions_to(size),
        bn_eps=1e-5,
        kernels=form.kernels,
        expands=form.expands,
        stem_width=16,
        stem_stride=stem_stride,
        first_width=16,
        first_act="relu",
        stages=_stages(form, width, strides),
        head_width=make_divisible(width * form.head),
        feature_width=make_divisible(width * form.features),
        act="hswish",
    )


def resolutions_to(size: int) -> tuple[int, ...]:
    """Up to four input sizes, the largest `size`, the smallest at least half of it."""
    step = max(4, size // 32 * 4)
    return tuple(r for r in range(size - 3 * step, size + 1, step) if r >= max(size / 2, 4))


def _stages(form: Form, width: float, strides: Sequence[int]) -> tuple[StageSpec, ...]:
    last = len(strides) - 2
    return tuple(
        StageSpec(
            width=make_divisible(width * channels),
            stride=stride,
            act="relu" if number < last else "hswish",
            se=number in form.squeezed,
            depths=form.depths,
        )
        for number, (channels, stride) in enumerate(zip(form.channels, strides, strict=True))
    )

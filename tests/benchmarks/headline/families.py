"""Networks of one shape that others published, as plans: what a subnet is compared with.

MobileNetV3-Large and -Small (Howard et al. 2019, tables 1 and 2) and EfficientNet-B0 (Tan and Le
2019, table 1), with their width multiplier. The rows are the papers'; at 224 pixels with the
published strides they have the published numbers of parameters
(tests/benchmarks/headline/test_families.py). Modules, ONNX files and MACs come from the same plan
as a subnet's, so that only the architecture differs. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from models.errors import InputError, NotFound
from models.layers import Activation, LayerSpec
from models.spaces import make_divisible


@dataclass(frozen=True, slots=True)
class Row:
    """One block of a family at width 1."""

    kernel: int
    middle: int
    """Channels between expansion and projection."""
    width: int
    se: bool
    act: Activation


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A published network; its first block of each stage carries the stage's stride."""

    stem: int
    act: Activation
    """Of the stem and the head."""
    stages: tuple[tuple[Row, ...], ...]
    strides: tuple[int, ...]
    """As published: of the stem, then of each stage."""
    head: int
    feature: int
    """0: no layer between the mean and the classifier."""
    se_of_middle: bool
    """Squeeze to a quarter of the block's middle channels (MobileNetV3); else of its input's."""


def _efficientnet(kernel: int, expand: int, entering: int, width: int, count: int) -> Iterator[Row]:
    """A stage of EfficientNet. Its swish is hard-swish here, which no runtime has slower."""
    for index in range(count):
        yield Row(kernel, expand * (width if index else entering), width, True, "hswish")


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "mobilenet-v3-large": Family(
            stem=16,
            act="hswish",
            stages=(
                (Row(3, 16, 16, False, "relu"),),
                (Row(3, 64, 24, False, "relu"), Row(3, 72, 24, False, "relu")),
                (
                    Row(5, 72, 40, True, "relu"),
                    Row(5, 120, 40, True, "relu"),
                    Row(5, 120, 40, True, "relu"),
                ),
                (
                    Row(3, 240, 80, False, "hswish"),
                    Row(3, 200, 80, False, "hswish"),
                    Row(3, 184, 80, False, "hswish"),
                    Row(3, 184, 80, False, "hswish"),
                ),
                (Row(3, 480, 112, True, "hswish"), Row(3, 672, 112, True, "hswish")),
                (
                    Row(5, 672, 160, True, "hswish"),
                    Row(5, 960, 160, True, "hswish"),
                    Row(5, 960, 160, True, "hswish"),
                ),
            ),
            strides=(2, 1, 2, 2, 2, 1, 2),
            head=960,
            feature=1280,
            se_of_middle=True,
        ),
        "mobilenet-v3-small": Family(
            stem=16,
            act="hswish",
            stages=(
                (Row(3, 16, 16, True, "relu"),),
                (Row(3, 72, 24, False, "relu"), Row(3, 88, 24, False, "relu")),
                (
                    Row(5, 96, 40, True, "hswish"),
                    Row(5, 240, 40, True, "hswish"),
                    Row(5, 240, 40, True, "hswish"),
                ),
                (Row(5, 120, 48, True, "hswish"), Row(5, 144, 48, True, "hswish")),
                (
                    Row(5, 288, 96, True, "hswish"),
                    Row(5, 576, 96, True, "hswish"),
                    Row(5, 576, 96, True, "hswish"),
                ),
            ),
            strides=(2, 2, 2, 2, 1, 2),
            head=576,
            feature=1024,
            se_of_middle=True,
        ),
        "efficientnet-b0": Family(
            stem=32,
            act="hswish",
            stages=(
                (Row(3, 32, 16, True, "hswish"),),
                tuple(_efficientnet(3, 6, 16, 24, 2)),
                tuple(_efficientnet(5, 6, 24, 40, 2)),
                tuple(_efficientnet(3, 6, 40, 80, 3)),
                tuple(_efficientnet(5, 6, 80, 112, 3)),
                tuple(_efficientnet(5, 6, 112, 192, 4)),
                tuple(_efficientnet(3, 6, 192, 320, 1)),
            ),
            strides=(2, 1, 2, 2, 2, 1, 2, 1),
            head=1280,
            feature=0,
            se_of_middle=False,
        ),
    }
)

SMALL_IMAGE_STRIDES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "mobilenet-v3-large": (1, 1, 2, 1, 2, 1, 2),
        "mobilenet-v3-small": (1, 2, 1, 2, 1, 2),
        "efficientnet-b0": (1, 1, 2, 1, 2, 1, 2, 1),
    }
)
"""For images of 28 pixels: an eighth of the published input, so two of five halvings go, and the
three that stay are where the shipped supernet has its own (2, 1, 2, 1, 2 over five stages)."""


def family_plan(
    family: str,
    width: float,
    resolution: int,
    *,
    channels: int,
    classes: int,
    strides: Sequence[int] | None = None,
) -> tuple[LayerSpec, ...]:
    """The layers of a published network at a width multiplier and an input size, pixels.

    Args:
        strides: of the stem, then of each stage; default: as published.

    Raises:
        NotFound: if there is no such family, with the nearest name.
        InputError: if the width or the number of strides does not hold.
    """
    if family not in FAMILIES:
        raise NotFound.named("family", family, FAMILIES)
    spec = FAMILIES[family]
    strides = spec.strides if strides is None else tuple(strides)
    if not 0 < width <= 8:
        raise InputError(f"width: expected a multiplier in (0, 8], got {width}")
    if len(strides) != 1 + len(spec.stages):
        raise InputError(f"strides: expected {1 + len(spec.stages)} of them, got {len(strides)}")
    return tuple(_walk(spec, width, resolution, channels, classes, strides))


def _walk(
    spec: Family,
    width: float,
    resolution: int,
    channels: int,
    classes: int,
    strides: Sequence[int],
) -> Iterator[LayerSpec]:
    def scaled(count: int) -> int:
        return make_divisible(count * width)

    def conv(name: str, entering: int, leaving: int, size: int, norm: bool = True) -> LayerSpec:
        return LayerSpec(
            name=name,
            kind="conv",
            in_channels=entering,
            out_channels=leaving,
            in_size=size,
            act=spec.act,
            norm=norm,
            resolution=resolution,
        )

    layer = LayerSpec(
        name="stem",
        kind="conv",
        in_channels=channels,
        out_channels=scaled(spec.stem),
        in_size=resolution,
        kernel=3,
        stride=strides[0],
        act=spec.act,
        norm=True,
        resolution=resolution,
    )
    yield layer
    for s, (rows, stage_stride) in enumerate(zip(spec.stages, strides[1:], strict=True)):
        for b, row in enumerate(rows):
            entering, stride = layer.out_channels, stage_stride if b == 0 else 1
            # A block without expansion keeps its input, whatever rounding does.
            middle = scaled(row.middle) if (s, b) != (0, 0) else entering
            squeezed = make_divisible(middle // 4) if spec.se_of_middle else max(1, entering // 4)
            layer = LayerSpec(
                name=f"stage{s + 1}_block{b + 1}",
                kind="mbconv",
                in_channels=entering,
                out_channels=scaled(row.width),
                in_size=layer.out_size,
                mid_channels=middle,
                kernel=row.kernel,
                stride=stride,
                act=row.act,
                norm=True,
                se_channels=squeezed if row.se else 0,
                skip=stride == 1 and entering == scaled(row.width),
                resolution=resolution,
            )
            yield layer
    layer = conv("head", layer.out_channels, scaled(spec.head), layer.out_size)
    yield layer
    leaving = layer.out_channels
    yield LayerSpec(
        name="pool",
        kind="pool",
        in_channels=leaving,
        out_channels=leaving,
        in_size=layer.out_size,
        resolution=resolution,
    )
    if spec.feature:
        layer = conv("feature", leaving, scaled(spec.feature), 1, norm=False)
        yield layer
        leaving = layer.out_channels
    yield LayerSpec(
        name="classifier",
        kind="linear",
        in_channels=leaving,
        out_channels=classes,
        in_size=1,
        resolution=resolution,
    )

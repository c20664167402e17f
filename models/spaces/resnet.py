"""The ResNet-50-D family: bottlenecks, elastic in depth, width and middle channels.

After OFAResNets of Once-for-All (arXiv 1908.09791) on ResNet-D (He et al. 2019, "Bag of
Tricks", figure 2): a stem of two or three convolutions, and shortcuts that average over their
stride. A block's cost depends on its own width and on that of the stage before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, ClassVar

from annotated_types import Interval

from models.errors import InvalidDocument
from models.layers import Activation, LayerSpec, PublishedModule
from models.schema import STRICT, Channels, Choices
from models.spaces.arch import Arch
from models.spaces.genes import (
    BlockCount,
    Gene,
    Multiplier,
    Scope,
    Stages,
    Stride,
    check_ascending,
    make_divisible,
)
from models.spaces.mobile import block_name
from models.spaces.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetStage:
    """One stage of bottlenecks; the first carries the stride and has the shortcut's conv."""

    __pydantic_config__ = STRICT

    width: Channels
    """Output channels at width multiplier 1."""
    stride: Stride
    """Of the first block: 2 halves the side."""
    least_blocks: BlockCount
    """Blocks at depth 0; a depth adds to them."""


@dataclass(frozen=True, kw_only=True)
class ResNetSpace(SearchSpace):
    """stem conv 3x3 stride 2 -> optional residual conv 3x3 -> conv 3x3 -> max pool stride 2
    -> stages of bottlenecks -> mean -> linear to `classes`.

    Columns of the gene matrix: resolution; the stem's depth and two widths; the width and depth
    of each stage; the expansion of each block. In this order each factor of a cost shares
    genes with its neighbours only, which keeps exact minimisation cheap
    (`search.costs.costs.minimise`).
    """

    family: ClassVar[str] = "resnet"

    widths: Choices[Multiplier]
    """Multipliers, of the two stem convolutions and of each stage."""
    expands: Choices[Multiplier]
    """Middle channels of a block per output channel."""
    extra_depths: Choices[Annotated[int, Interval(ge=0, le=32)]]
    """Blocks beyond the least of a stage."""
    stem_widths: tuple[Channels, Channels]
    """Channels at width multiplier 1: inner, outer."""
    stages: Stages[ResNetStage]
    """First to last."""
    act: Activation = "relu"
    """Activation of every layer that has one."""

    def __post_init__(self) -> None:
        check_ascending(self.resolutions, "resolutions")
        check_ascending(self.widths, "widths", least=0.01)
        check_ascending(self.expands, "expands", least=0.01)
        check_ascending(self.extra_depths, "extra_depths", least=0)
        if not self.stages:
            raise InvalidDocument.at("space", ("stages",), "expected at least one stage, got none")

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """See `SearchSpace`."""
        stages = [
            gene
            for s in range(len(self.stages))
            for gene in (
                Gene("width", s + 2, -1, self.widths),
                Gene("depth", s + 1, -1, self.extra_depths),
            )
        ]
        blocks = [
            Gene("expand", s, b, self.expands)
            for s, counts in enumerate(self.block_counts)
            for b in range(counts[-1])
        ]
        return (
            Gene("resolution", -1, -1, self.resolutions),
            Gene("depth", 0, -1, (0, 1)),
            Gene("width", 0, -1, self.widths),
            Gene("width", 1, -1, self.widths),
            *stages,
            *blocks,
        )

    @cached_property
    def block_counts(self) -> tuple[tuple[int, ...], ...]:
        """See `SearchSpace`."""
        return tuple(
            tuple(stage.least_blocks + extra for extra in self.extra_depths)
            for stage in self.stages
        )

    @property
    def depth_columns(self) -> tuple[int, ...]:
        """See `SearchSpace`."""
        return tuple(self.column["depth", s + 1, -1] for s in range(len(self.stages)))

    @cached_property
    def scopes(self) -> Mapping[str, Scope]:
        """See `SearchSpace`."""
        width = [self.column["width", i, -1] for i in range(len(self.stages) + 2)]
        stem_depth = self.column["depth", 0, -1]
        blocks = {}
        for (s, b), columns in self.block_columns.items():
            before = (width[s + 1],) if b == 0 else ()
            counts = self.block_counts[s]
            blocks[block_name(s, b)] = Scope(
                (0, *before, width[s + 2], *columns),
                None if counts[0] > b else self.depth_columns[s],
                tuple(count > b for count in counts),
            )
        return {
            "stem": Scope((0, width[0])),
            "stem_residual": Scope((0, width[0]), stem_depth, (False, True)),
            "stem_out": Scope((0, width[0], width[1])),
            "stem_pool": Scope((0, width[1])),
            **blocks,
            "pool": Scope((0, width[-1])),
            "classifier": Scope((0, width[-1])),
        }

    def covering(self) -> Iterator[Arch]:
        """Deepest networks of one expansion whose widths alternate between two choices."""
        counts = [stage[-1] for stage in self.block_counts]
        for resolution, odd, even, expand in itertools.product(
            self.resolutions, self.widths, self.widths, self.expands
        ):
            yield Arch(
                resolution,
                (1, *[self.extra_depths[-1]] * len(self.stages)),
                (),
                tuple((expand,) * count for count in counts),
                tuple(even if i % 2 else odd for i in range(len(self.stages) + 2)),
            )

    def published_modules(self, block: str) -> Mapping[str, PublishedModule]:
        """See `SearchSpace`."""
        stem = {"stem": "0", "stem_residual": "1.conv", "stem_out": "2"}
        blocks = [block_name(s, b) for s, b in self.block_columns]
        return {
            **{name: PublishedModule(f"input_stem.{place}") for name, place in stem.items()},
            **{name: PublishedModule(f"blocks.{i}") for i, name in enumerate(blocks)},
            "classifier": PublishedModule("classifier.linear.linear"),
        }

    def walk(self, arch: Arch) -> Iterator[LayerSpec]:  # long: a list of layers in order
        """See `SearchSpace`."""
        layer = partial(LayerSpec, resolution=arch.resolution)
        inner, outer = (
            make_divisible(width * multiplier)
            for width, multiplier in zip(self.stem_widths, arch.width, strict=False)
        )
        size = arch.resolution
        channels = self.channels
        for name, width, stride, skip in (
            ("stem", inner, 2, False),
            ("stem_residual", inner, 1, True),
            ("stem_out", outer, 1, False),
        ):
            if name == "stem_residual" and not arch.depth[0]:
                continue
            conv = layer(
                name=name,
                kind="conv",
                in_channels=channels,
                out_channels=width,
                in_size=size,
                kernel=3,
                stride=stride,
                act=self.act,
                norm=True,
                skip=skip,
            )
            yield conv
            channels, size = width, conv.out_size
        pool = layer(
            name="stem_pool",
            kind="maxpool",
            in_channels=channels,
            out_channels=channels,
            in_size=size,
            kernel=3,
            stride=2,
        )
        yield pool
        size = pool.out_size
        for s, stage in enumerate(self.stages):
            width = make_divisible(stage.width * arch.width[s + 2])
            for b, expand in enumerate(arch.expand[s]):
                block = layer(
                    name=block_name(s, b),
                    kind="bottleneck",
                    in_channels=channels,
                    out_channels=width,
                    in_size=size,
                    mid_channels=make_divisible(round(width * expand)),
                    kernel=3,
                    stride=stage.stride if b == 0 else 1,
                    act=self.act,
                    norm=True,
                    skip=b > 0,
                )
                yield block
                channels, size = width, block.out_size
        yield layer(
            name="pool", kind="pool", in_channels=channels, out_channels=channels, in_size=size
        )
        yield layer(
            name="classifier",
            kind="linear",
            in_channels=channels,
            out_channels=self.classes,
            in_size=1,
        )

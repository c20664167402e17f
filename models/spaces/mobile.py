"""The MobileNetV3 family: stages of inverted bottlenecks, elastic in depth, kernel, expansion.

Published members: the supernets of OFA on MobileNetV3 and on ProxylessNAS (arXiv 1908.09791,
1812.00332). Widths are fixed, so the cost of a block depends on its own genes only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Annotated, ClassVar, Self

from annotated_types import Interval

from models.errors import InvalidDocument
from models.layers import Activation, LayerSpec, PublishedModule
from models.schema import STRICT, Channels, Choices
from models.spaces.arch import Arch
from models.spaces.genes import (
    BlockCount,
    Gene,
    GeneName,
    KernelSize,
    Scope,
    Stages,
    Stride,
    check_ascending,
    make_divisible,
)
from models.spaces.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage: blocks of one width, the first of which carries the stride."""

    __pydantic_config__ = STRICT

    width: Channels
    """Output channels of every block."""
    stride: Stride
    """Of the first block: 2 halves the side."""
    act: Activation
    """Activation of every block."""
    se: bool
    """Squeeze-and-excitation in every block."""
    depths: Choices[BlockCount]
    """Allowed numbers of active blocks, ascending."""


@dataclass(frozen=True, kw_only=True)
class MobileSpace(SearchSpace):
    """A MobileNetV3-style space (OFA, appendix A; Howard et al. 2019).

    stem conv 3x3 -> fixed first block (k3, no expansion) -> elastic stages
    -> 1x1 conv to `head_width` -> mean -> 1x1 conv to `feature_width` -> linear to `classes`.

    Columns of the gene matrix: resolution, the depth of each stage, the kernel of each block,
    the expansion of each block.
    """

    family: ClassVar[str] = "mobile"

    kernels: Choices[KernelSize]
    """Sizes of the depthwise convolutions, odd, ascending."""
    expands: Choices[Annotated[int, Interval(ge=1, le=64)]]
    """Middle channels of a block per input channel, ascending."""
    stem_width: Channels
    """Output channels of the first convolution."""
    stem_stride: Stride
    """Of the first convolution: 2 halves the side at once."""
    first_width: Channels
    """Output channels of the block after it, which is always there and does not expand."""
    first_act: Activation
    """Activation of that block."""
    stages: Stages[StageSpec]
    """The elastic stages, first to last."""
    head_width: Channels
    """Output channels of the convolution before the mean."""
    feature_width: Annotated[int, Interval(ge=0, le=65_536)]
    """Output channels of the convolution after the mean; 0: none (ProxylessNAS)."""
    act: Activation
    """Activation of the stem and the head."""

    def __post_init__(self) -> None:
        for name in ("resolutions", "kernels", "expands"):
            check_ascending(getattr(self, name), name)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise InvalidDocument.at(
                "space", ("kernels",), f"expected odd sizes, got {list(self.kernels)}"
            )
        if not self.stages:
            raise InvalidDocument.at("space", ("stages",), "expected at least one stage, got none")
        for index, stage in enumerate(self.stages):
            check_ascending(stage.depths, "stages", index, "depths")

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """See `SearchSpace`."""
        blocks = [(s, b) for s, spec in enumerate(self.stages) for b in range(spec.depths[-1])]
        return (
            Gene("resolution", -1, -1, self.resolutions),
            *(Gene("depth", s, -1, spec.depths) for s, spec in enumerate(self.stages)),
            *(Gene("kernel", s, b, self.kernels) for s, b in blocks),
            *(Gene("expand", s, b, self.expands) for s, b in blocks),
        )

    @cached_property
    def block_counts(self) -> tuple[tuple[int, ...], ...]:
        """See `SearchSpace`."""
        return tuple(stage.depths for stage in self.stages)

    @property
    def depth_columns(self) -> tuple[int, ...]:
        """See `SearchSpace`."""
        return tuple(range(1, 1 + len(self.stages)))

    @cached_property
    def scopes(self) -> Mapping[str, Scope]:
        """See `SearchSpace`."""
        blocks = {
            block_name(s, b): Scope(
                (0, *columns),
                None if self.stages[s].depths[0] > b else 1 + s,
                tuple(depth > b for depth in self.stages[s].depths),
            )
            for (s, b), columns in self.block_columns.items()
        }
        tail = ("head", "pool", *(("feature",) if self.feature_width else ()), "classifier")
        fixed = Scope((0,))
        return dict.fromkeys(("stem", "first"), fixed) | blocks | dict.fromkeys(tail, fixed)

    def uniform(self, resolution: int, depth_index: int, kernel: int, expand: int) -> Arch:
        """The architecture whose stages all take one depth index, kernel and expansion."""
        depth = tuple(
            stage.depths[min(depth_index, len(stage.depths) - 1)] for stage in self.stages
        )
        arch = Arch(
            resolution,
            depth,
            tuple((kernel,) * d for d in depth),
            tuple((expand,) * d for d in depth),
        )
        self.validate(arch)
        return arch

    def covering(self) -> Iterator[Arch]:
        """The uniform architectures of largest depth."""
        for resolution, kernel, expand in itertools.product(
            self.resolutions, self.kernels, self.expands
        ):
            yield self.uniform(resolution, -1, kernel, expand)

    def narrowed(self, choices: Mapping[GeneName, tuple[float, ...]]) -> Self:
        """See `SearchSpace`."""

        def opened(name: GeneName) -> tuple[int, ...]:
            return tuple(map(int, choices.get(name) or self.choices_of(name)[-1:]))

        depths = opened("depth")
        stages = tuple(
            replace(s, depths=tuple(d for d in s.depths if d in depths) or s.depths[-1:])
            for s in self.stages
        )
        return replace(
            self,
            resolutions=opened("resolution"),
            kernels=opened("kernel"),
            expands=opened("expand"),
            stages=stages,
        )

    def published_modules(self, block: str) -> Mapping[str, PublishedModule]:
        """See `SearchSpace`."""
        last = "final_expand_layer" if self.feature_width else "feature_mix_layer"
        blocks = {
            block_name(s, b): PublishedModule(f"blocks.{i}.{block}", kernels=self.kernels)
            for i, (s, b) in enumerate(self.block_columns, start=1)
        }
        return {
            "stem": PublishedModule("first_conv", elastic=False),
            "first": PublishedModule(f"blocks.0.{block}", elastic=False),
            **blocks,
            "head": PublishedModule(last, elastic=False),
            "feature": PublishedModule("feature_mix_layer", elastic=False),
            "classifier": PublishedModule("classifier.linear"),
        }

    def walk(self, arch: Arch) -> Iterator[LayerSpec]:  # long: a list of layers in order
        """See `SearchSpace`."""
        layer = partial(LayerSpec, resolution=arch.resolution)
        stem = layer(
            name="stem",
            kind="conv",
            in_channels=self.channels,
            out_channels=self.stem_width,
            in_size=arch.resolution,
            kernel=3,
            stride=self.stem_stride,
            act=self.act,
            norm=True,
        )
        yield stem
        first = layer(
            name="first",
            kind="mbconv",
            in_channels=self.stem_width,
            out_channels=self.first_width,
            in_size=stem.out_size,
            mid_channels=self.stem_width,
            kernel=3,
            act=self.first_act,
            norm=True,
            skip=self.stem_width == self.first_width,
        )
        yield first
        width, size = first.out_channels, first.out_size
        for s, stage in enumerate(self.stages):
            for b in range(arch.depth[s]):
                mid = make_divisible(round(width * arch.expand[s][b]))
                stride = stage.stride if b == 0 else 1
                block = layer(
                    name=block_name(s, b),
                    kind="mbconv",
                    in_channels=width,
                    out_channels=stage.width,
                    in_size=size,
                    mid_channels=mid,
                    kernel=arch.kernel[s][b],
                    stride=stride,
                    act=stage.act,
                    norm=True,
                    se_channels=make_divisible(mid // 4) if stage.se else 0,
                    skip=stride == 1 and width == stage.width,
                )
                yield block
                width, size = block.out_channels, block.out_size
        yield layer(
            name="head",
            kind="conv",
            in_channels=width,
            out_channels=self.head_width,
            in_size=size,
            act=self.act,
            norm=True,
        )
        width = self.head_width
        yield layer(name="pool", kind="pool", in_channels=width, out_channels=width, in_size=size)
        if self.feature_width:
            yield layer(
                name="feature",
                kind="conv",
                in_channels=width,
                out_channels=self.feature_width,
                in_size=1,
                act=self.act,
            )
            width = self.feature_width
        yield layer(
            name="classifier",
            kind="linear",
            in_channels=width,
            out_channels=self.classes,
            in_size=1,
        )


def block_name(stage: int, block: int) -> str:
    """The plan's name of a block; stages and blocks count from 0."""
    return f"stage{stage + 1}_block{block + 1}"

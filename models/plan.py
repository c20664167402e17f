"""The one walk over a network: (space, arch) -> the layers it is made of.

Modules, MACs, parameters, latency keys, ONNX graphs and pictures are all read from this
walk, so they cannot disagree. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from models.space import Activation, Arch, SearchSpace, make_divisible

LayerKind = Literal["conv", "mbconv", "pool", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """One layer with everything that its cost and its module depend on.

    kind "conv":   conv, batch norm unless `norm` is false, activation
    kind "mbconv": 1x1 expansion (absent when mid == in), depthwise kxk, optional
                   squeeze-and-excitation, 1x1 projection without activation, optional skip
    kind "pool":   mean over height and width, keeping both axes
    kind "linear": flatten, fully connected with bias
    """

    name: str
    kind: LayerKind
    in_channels: int
    out_channels: int
    in_size: int
    """Input height and width, pixels."""
    mid_channels: int = 0
    kernel: int = 1
    stride: int = 1
    act: Activation | None = None
    se_channels: int = 0
    """Squeezed channels, 0 without squeeze-and-excitation."""
    skip: bool = False
    norm: bool = False

    @property
    def out_size(self) -> int:
        """Output height and width: padding k//2, so ceil(in / stride)."""
        return 1 if self.kind in ("pool", "linear") else (self.in_size - 1) // self.stride + 1

    @property
    def expands(self) -> bool:
        """Whether an inverted bottleneck has its 1x1 expansion."""
        return self.kind == "mbconv" and self.mid_channels != self.in_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one image."""
        area_out = self.out_size**2
        match self.kind:
            case "conv":
                return self.kernel**2 * self.in_channels * self.out_channels * area_out
            case "linear":
                return self.in_channels * self.out_channels
            case "pool":
                return 0
            case "mbconv":
                expansion = self.in_channels * self.mid_channels * self.in_size**2
                return (
                    (expansion if self.expands else 0)
                    + self.kernel**2 * self.mid_channels * area_out
                    + 2 * self.mid_channels * self.se_channels
                    + self.mid_channels * self.out_channels * area_out
                )

    @property
    def params(self) -> int:
        """Trainable values of the layer once extracted (no kernel transformations)."""
        match self.kind:
            case "conv":
                norm = 2 * self.out_channels if self.norm else 0
                return self.kernel**2 * self.in_channels * self.out_channels + norm
            case "linear":
                return (self.in_channels + 1) * self.out_channels
            case "pool":
                return 0
            case "mbconv":
                mid, se = self.mid_channels, self.se_channels
                return (
                    ((self.in_channels + 2) * mid if self.expands else 0)
                    + (self.kernel**2 + 2) * mid
                    + (2 * mid * se + mid + se if se else 0)
                    + (mid + 2) * self.out_channels
                )

    @property
    def key(self) -> str:
        """What a latency depends on, as text: two layers with one key cost the same."""
        size_in, size_out = self.in_size, self.out_size
        return (
            f"{self.kind}-in{size_in}x{size_in}x{self.in_channels}"
            f"-out{size_out}x{size_out}x{self.out_channels}"
            f"-mid{self.mid_channels}-k{self.kernel}-s{self.stride}-se{self.se_channels}"
            f"-skip{int(self.skip)}-{self.act or 'none'}"
        )


@lru_cache(maxsize=4096)
def layer_plan(space: SearchSpace, arch: Arch) -> tuple[LayerSpec, ...]:
    """The layers of `arch` in order, from input image to logits.

    Raises:
        InputError: if `arch` is not in `space`.
    """
    space.validate(arch)
    layers: list[LayerSpec] = []
    size, width = arch.resolution, space.channels

    def add(layer: LayerSpec) -> None:
        nonlocal size, width
        layers.append(layer)
        size, width = layer.out_size, layer.out_channels

    add(
        LayerSpec(
            name="stem",
            kind="conv",
            in_channels=width,
            out_channels=space.stem_width,
            in_size=size,
            kernel=3,
            stride=space.stem_stride,
            act=space.act,
            norm=True,
        )
    )
    add(
        LayerSpec(
            name="first",
            kind="mbconv",
            in_channels=width,
            out_channels=space.first_width,
            in_size=size,
            mid_channels=width,
            kernel=3,
            act=space.first_act,
            norm=True,
            skip=width == space.first_width,
        )
    )
    for s, stage in enumerate(space.stages):
        for b in range(arch.depth[s]):
            mid = make_divisible(round(width * arch.expand[s][b]))
            stride = stage.stride if b == 0 else 1
            add(
                LayerSpec(
                    name=f"stage{s + 1}_block{b + 1}",
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
            )
    add(
        LayerSpec(
            name="head",
            kind="conv",
            in_channels=width,
            out_channels=space.head_width,
            in_size=size,
            act=space.act,
            norm=True,
        )
    )
    add(LayerSpec(name="pool", kind="pool", in_channels=width, out_channels=width, in_size=size))
    add(
        LayerSpec(
            name="feature",
            kind="conv",
            in_channels=width,
            out_channels=space.feature_width,
            in_size=size,
            act=space.act,
        )
    )
    add(
        LayerSpec(
            name="classifier",
            kind="linear",
            in_channels=width,
            out_channels=space.classes,
            in_size=size,
        )
    )
    return tuple(layers)


def macs(space: SearchSpace, arch: Arch) -> int:
    """Multiply-accumulates of one forward pass on one image."""
    return sum(layer.macs for layer in layer_plan(space, arch))


def params(space: SearchSpace, arch: Arch) -> int:
    """Trainable values of the extracted subnet."""
    return sum(layer.params for layer in layer_plan(space, arch))

"""The one walk over a network: (space, arch) -> the layers it is made of.

Modules, MACs, parameters, latency keys, ONNX graphs and pictures are all read from this
walk, so they cannot disagree. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from models.spaces.arch import Arch
from models.spaces.space import Activation, SearchSpace

LayerKind = Literal["conv", "mbconv", "bottleneck", "maxpool", "pool", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """One layer with everything that its cost and its module depend on.

    kind "conv":   conv, batch norm unless `norm` is false, activation, optional skip
    kind "mbconv": 1x1 expansion (absent when mid == in), depthwise kxk, optional
                   squeeze-and-excitation, 1x1 projection without activation, optional skip
    kind "bottleneck": 1x1, kxk with the stride, 1x1 without activation, each with batch norm;
                   the activation follows the sum with the shortcut, which is the input where
                   `skip`, else its mean over the stride, a 1x1 convolution and batch norm
    kind "maxpool": maximum over kxk
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
    resolution: int = 0
    """Input size of the whole network, pixels. Not part of what the layer computes, but tables
    that were measured network by network hold a figure for each."""

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
        area_in, area_out, mid = self.in_size**2, self.out_size**2, self.mid_channels
        match self.kind:
            case "conv":
                return self.kernel**2 * self.in_channels * self.out_channels * area_out
            case "linear":
                return self.in_channels * self.out_channels
            case "pool" | "maxpool":
                return 0
            case "mbconv":
                return (
                    (self.in_channels * mid * area_in if self.expands else 0)
                    + self.kernel**2 * mid * area_out
                    + 2 * mid * self.se_channels
                    + mid * self.out_channels * area_out
                )
            case "bottleneck":
                return (
                    self.in_channels * mid * area_in
                    + self.kernel**2 * mid * mid * area_out
                    + mid * self.out_channels * area_out
                    + (0 if self.skip else self.in_channels * self.out_channels * area_out)
                )

    @property
    def params(self) -> int:
        """Trainable values of the layer once extracted (no kernel transformations)."""
        mid, se, out = self.mid_channels, self.se_channels, self.out_channels
        match self.kind:
            case "conv":
                return self.kernel**2 * self.in_channels * out + (2 * out if self.norm else 0)
            case "linear":
                return (self.in_channels + 1) * out
            case "pool" | "maxpool":
                return 0
            case "mbconv":
                return (
                    ((self.in_channels + 2) * mid if self.expands else 0)
                    + (self.kernel**2 + 2) * mid
                    + (2 * mid * se + mid + se if se else 0)
                    + (mid + 2) * out
                )
            case "bottleneck":
                return (
                    (self.in_channels + 2) * mid
                    + (self.kernel**2 * mid + 2) * mid
                    + (mid + 2) * out
                    + (0 if self.skip else (self.in_channels + 2) * out)
                )

    @property
    def live_values(self) -> int:
        """Most activation values alive at once while the layer runs, for one image.

        Every convolution writes to memory of its own; what acts on each value alone (norm,
        activation, squeeze-and-excitation's scale, a sum) works in place. An input with a
        shortcut past it lives until the sum.
        """
        area_in, area_out = self.in_size**2, self.out_size**2
        enter, leave = self.in_channels * area_in, self.out_channels * area_out
        wide_in, wide_out = self.mid_channels * area_in, self.mid_channels * area_out
        match self.kind:
            case "mbconv":
                kept = enter if self.skip else 0
                expanded = kept + wide_in if self.expands else enter
                return max(
                    enter + wide_in if self.expands else 0,
                    expanded + wide_out,
                    kept + wide_out + leave,
                )
            case "bottleneck":
                pooled = 0 if self.skip else self.in_channels * area_out
                return max(
                    enter + wide_in + wide_out,
                    enter + wide_out + leave,
                    enter + pooled + leave,
                    0 if self.skip else pooled + 2 * leave,
                )
            case _:
                return enter + leave

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
    return tuple(space.walk(arch))


def macs(space: SearchSpace, arch: Arch) -> int:
    """Multiply-accumulates of one forward pass on one image."""
    return sum(layer.macs for layer in layer_plan(space, arch))


def params(space: SearchSpace, arch: Arch) -> int:
    """Trainable values of the extracted subnet."""
    return sum(layer.params for layer in layer_plan(space, arch))

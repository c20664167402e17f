"""Outputs of a network's stages, as heads for detection and segmentation read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from models.layers import LayerSpec, kind_of
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from models.spaces.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """The output of a layer as a further output of its network, (B, channels, size, size)."""

    name: str
    stride: int
    """Pixels of the input to a step of this output."""
    channels: int
    size: int
    """Height and width, pixels."""
    layer: str

    def to_json(self) -> dict[str, Any]:
        """As files state it."""
        return asdict(self)


def stage_features(space: SearchSpace, arch: Arch) -> tuple[Feature, ...]:
    """For each stride of the elastic blocks the last block's output, image to logits.

    Of several stages of one stride the last is taken, as feature pyramids have it (Lin et al. 2017,
    arXiv 1612.03144, section 3). Blocks that no gene changes belong to the stem.
    """
    found = {
        stride: Feature(
            name=f"features_stride{stride}",
            stride=stride,
            channels=spec.out_channels,
            size=spec.out_size,
            layer=spec.name,
        )
        for spec, stride in _with_strides(layer_plan(space, arch))
        if kind_of(spec).is_block and set(space.scopes[spec.name].columns) != {0}
    }
    return tuple(found.values())


def _with_strides(plan: tuple[LayerSpec, ...]) -> Iterator[tuple[LayerSpec, int]]:
    """Each layer with the stride of its output."""
    stride = 1
    for spec in plan:
        stride *= spec.stride
        yield spec, stride

"""From (space, architecture) to the layers of the network, and sums over them.

Modules, MACs, parameters, latency keys, ONNX graphs and pictures are all made from this plan, so
they cannot disagree. No torch here.
"""

from __future__ import annotations

from functools import lru_cache

from models.layers import LayerSpec
from models.spaces.arch import Arch
from models.spaces.space import SearchSpace


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

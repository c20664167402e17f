"""A layer's cost from what it computes and moves: one non-negative time for each unit of work.

The same few features describe the layers of every space, so times that were fitted in one space
and at some resolutions say something about the others.

Shapes: L layers, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from models.spaces import LayerSpec

Floats = npt.NDArray[np.float64]

FEATURES = (
    "pointwise_macs",
    "dense_macs",  # of convolutions larger than 1x1 that mix channels
    "depthwise_k3_macs",
    "depthwise_k5_macs",
    "depthwise_k7_macs",
    "depthwise_strided_macs",  # once more, beside those of its kernel
    "dense_values",  # activations read and written by convolutions that mix channels
    "depthwise_values",  # and by those that do not, and by pooling
    "weights",
    "squeezes",  # squeeze-and-excitations
    "squeezed_values",  # activations that they average and scale
    "hswish_values",
    "dense_layers",
    "depthwise_layers",
    "blocks",
)
"""What the columns count, for one image; the batch is part of the times."""

UnitCosts = Mapping[str, float]
"""Milliseconds by feature, for one unit of each."""


def layer_features(layers: Iterable[LayerSpec]) -> Floats:
    """What each layer computes and moves, (L, F)."""
    found = [_features(layer) for layer in layers]
    rows = [[features.get(name, 0.0) for name in FEATURES] for features in found]
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def as_vector(costs: UnitCosts) -> Floats:
    """Milliseconds of one unit of each feature, in order, (F,)."""
    return np.array([costs.get(name, 0.0) for name in FEATURES])


def as_costs(vector_F: Floats) -> dict[str, float]:
    """The inverse of `as_vector`, without what costs nothing, to seven digits."""
    return {
        name: float(f"{cost:.7g}")
        for name, cost in zip(FEATURES, vector_F.tolist(), strict=True)
        if cost > 0
    }


def _features(layer: LayerSpec) -> dict[str, float]:
    area_in, area_out = layer.in_size**2, layer.out_size**2
    enter, leave = layer.in_channels * area_in, layer.out_channels * area_out
    match layer.kind:
        case "mbconv":
            return _mbconv(layer, enter, leave)
        case "bottleneck":
            wide_in, wide_out = layer.mid_channels * area_in, layer.mid_channels * area_out
            inner = layer.kernel**2 * layer.mid_channels * wide_out
            shortcut = 0 if layer.skip else layer.in_channels * area_out + leave
            return {
                "pointwise_macs": layer.macs - inner,
                "dense_macs": inner,
                "dense_values": enter + 2 * (wide_in + wide_out) + leave + shortcut,
                "weights": layer.params,
                "dense_layers": 3 + (not layer.skip),
                "blocks": 1,
            }
        case "conv":
            return {
                "pointwise_macs" if layer.kernel == 1 else "dense_macs": layer.macs,
                "dense_values": enter + leave,
                "weights": layer.params,
                "hswish_values": leave * (layer.act == "hswish"),
                "dense_layers": 1,
            }
        case "linear":
            return {"weights": layer.params, "dense_layers": 1}
        case "pool" | "maxpool":
            return {"depthwise_values": enter + leave * (layer.kind == "maxpool")}


def _mbconv(layer: LayerSpec, enter: int, leave: int) -> dict[str, float]:
    mid_in = layer.mid_channels * layer.in_size**2
    mid_out = layer.mid_channels * layer.out_size**2
    depthwise = layer.kernel**2 * mid_out
    expand = layer.in_channels * mid_in if layer.expands else 0
    kernel = 3 if layer.kernel <= 3 else 5 if layer.kernel == 5 else 7
    return {
        "pointwise_macs": expand + layer.out_channels * mid_out,
        f"depthwise_k{kernel}_macs": depthwise,
        "depthwise_strided_macs": depthwise * (layer.stride > 1),
        "dense_values": (enter + mid_in if layer.expands else 0) + mid_out + leave,
        "depthwise_values": mid_in + mid_out,
        "weights": layer.params,
        "squeezes": layer.se_channels > 0,
        "squeezed_values": mid_out * (layer.se_channels > 0),
        "hswish_values": (mid_in + mid_out) * (layer.act == "hswish"),
        "dense_layers": 1 + layer.expands,
        "depthwise_layers": 1,
        "blocks": 1,
    }

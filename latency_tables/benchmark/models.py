"""The ONNX model of a chain of layers, with trained or random weights, for timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from latency_tables.benchmark.plan import PREFIX, Chain
from models.layers import LayerSpec, tensor_shapes
from models.onnx import build_slice

TensorsFor = Callable[[Sequence[LayerSpec]], Mapping[str, npt.NDArray[np.generic]]]
"""Weights of given layers, by the names of an extracted subnet's state."""

PATTERN = 127
"""How many random values the weights repeat: few, so that a kit compresses well."""


def chain_model(chain: Chain, tensors_for: TensorsFor, precision: str = "fp32") -> bytes:
    """The serialized model of a chain; a prefix layer has random weights.

    Args:
        precision: fp32, or int8: quantized as a delivered network is.
    """
    tensors = {
        **random_tensors([layer for layer in chain if layer.name == PREFIX]),
        **tensors_for([layer for layer in chain if layer.name != PREFIX]),
    }
    model = build_slice(chain, tensors)
    if precision == "fp32":
        return model
    from models.onnx import quantize_onnx  # slow to load

    first = chain[0]
    shape = (2, first.in_channels, first.in_size, first.in_size)
    return quantize_onnx(model, [np.random.default_rng(0).standard_normal(shape, np.float32)])


def random_tensors(layers: Sequence[LayerSpec]) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights for layers without trained ones; equal for equal layers.

    Convolutions are scaled as in He et al. 2015 and batch norms halve their input, so that
    activations stay finite through any number of skips: infinities take another time.
    """
    pattern = np.random.default_rng(0).standard_normal(PATTERN)
    tensors = {}
    for name, shape in tensor_shapes(layers).items():
        values = np.resize(pattern, shape)
        if len(shape) > 1:
            value = values * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = np.ones(shape)
        elif name.endswith("norm.weight"):
            value = np.full(shape, 0.5)
        else:
            value = 0.1 * values
        tensors[name] = value.astype(np.float32)
    return tensors

"""The ONNX model of a chain of layers, to be timed; without trained weights if there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from latency_tables.benchmark.plan import LEAD, Chain
from models.layers import LayerSpec, tensor_shapes
from models.onnx import build_slice

TensorsFor = Callable[[Sequence[LayerSpec]], Mapping[str, npt.NDArray[np.generic]]]
"""Weights of given layers, by the names of an extracted subnet's state."""

PATTERN = 127
"""Values that weights repeat: enough to be ordinary, so few that files of them pack well."""


def chain_model(chain: Chain, tensors_for: TensorsFor, precision: str = "fp32") -> bytes:
    """Serialize a chain, with weights of our own for a lead.

    Args:
        precision: fp32, or int8: then quantized as a delivered network is.
    """
    tensors = {
        **random_tensors([layer for layer in chain if layer.name == LEAD]),
        **tensors_for([layer for layer in chain if layer.name != LEAD]),
    }
    model = build_slice(chain, tensors)
    if precision == "fp32":
        return model
    from models.onnx import quantize_onnx  # slow to load

    first = chain[0]
    shape = (2, first.in_channels, first.in_size, first.in_size)
    return quantize_onnx(model, [np.random.default_rng(0).standard_normal(shape, np.float32)])


def random_tensors(layers: Sequence[LayerSpec]) -> dict[str, npt.NDArray[np.float32]]:
    """Weights to time layers with when there are no trained ones, equal for equal layers.

    Convolutions are scaled after He et al. 2015, and batch norms halve, so that activations stay
    ordinary numbers however many skips add up (infinities time differently).
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

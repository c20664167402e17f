"""How many bytes a layer adds to an ONNX file, at fp32 and at int8, without writing the file.

At int8 the graph is the one that ONNX Runtime's tool makes of the float graph
(`models.onnx.quantize`):

- a weight is int8, with a float32 scale and an int8 zero point for each output channel;
- a bias is int32, with a float32 scale and an int32 zero point for each channel;
- a tensor that a quantized operator reads or writes gets a scale, a zero point, and the two
  operators that write and read it, except the output of a `Gemm`, which are the logits;
- a `Relu` or `Clip` behind another operator is part of that operator's range and disappears;
- what is excluded (`FLOAT_NODES`) or has no int8 form (`HardSwish`) stays float32.

Sizes follow protobuf's wire format: a field of n bytes takes a tag, the length n as a varint, and
the n bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import onnx

from models.layers import LayerSpec, kind_of, tensor_shapes
from models.onnx.builder import Graph
from models.onnx.names import FLOAT_NODES

ENVELOPE_BYTES: Mapping[str, int] = {"fp32": 77, "int8": 330}
"""Size of a file without layers and metadata, by precision: versions, name, input and output; at
int8 also the operators that quantize the input."""

QUANTIZED_OPS = frozenset(
    {"Add", "AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MaxPool", "Mul"}
)
"""Operators of our layers with an int8 form."""
REMOVED_OPS = frozenset({"Clip", "Relu"})
FLOAT_OUTPUT_OPS = frozenset({"Gemm"})

BEFORE = ".before"
"""Ends the name of a layer's input, which is of about the usual length."""
DEQUANTIZED = "_DequantizeLinear_Output"
AXIS_ATTRIBUTE = 13
"""Bytes of the attribute `axis` of an operator."""


def stored_bytes(layer: LayerSpec, precision: str = "fp32") -> int:
    """Bytes that one layer adds to the file of a network, to within a few hundred bytes at int8 and
    a few at fp32.

    The result depends on the length of the layer's name and not on its size in pixels, so equal
    layers share one cached result.

    Args:
        precision: of the file: "int8", or any other for a float32 file.
    """
    size = layer.kernel * layer.stride
    alike = replace(layer, name="n" * len(layer.name), in_size=size, resolution=0)
    return _stored_bytes(alike, precision == "int8")


@lru_cache(maxsize=8192)
def _stored_bytes(layer: LayerSpec, quantized: bool) -> int:
    shapes = tensor_shapes([layer])
    graph = Graph(_Zeros(shapes), shapes, bn_eps=1.0)
    kind_of(layer).add_onnx(graph, layer, f"{layer.name}{BEFORE}")
    tensors = {item.name: item.shape for item in graph.initializers}
    if quantized:
        return sum(_Quantized(graph.nodes, tensors).fields())
    floats = (_tensor(name, shape, _field(4 * math.prod(shape))) for name, shape in tensors.items())
    return sum(map(_field, (*(node.ByteSize() for node in graph.nodes), *floats)))


class _Zeros(dict[str, npt.NDArray[np.float32]]):
    """Zeros for every tensor, made when one is read: only batch norms are."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self._shapes = shapes

    def __missing__(self, name: str) -> npt.NDArray[np.float32]:
        return np.zeros(self._shapes[name], np.float32)


@dataclass
class _Quantized:
    """The int8 form of one layer's graph, as sizes of its operators and tensors."""

    nodes: Sequence[onnx.NodeProto]
    tensors: Mapping[str, tuple[int, ...]]
    """Shapes of the float graph's constants."""

    def fields(self) -> Iterator[int]:
        """Sizes of the fields of the graph, each with its tag and length."""
        kept, names = self._without_activations()
        source = self.nodes[0].input[0]  # the layer before quantizes it
        quantized = self._quantized_values(kept, names)
        weights = [name for node in kept if _is_quantized(node) for name in node.input[1:]]
        weights = [name for name in weights if name in self.tensors]
        for node in kept:
            size = node.ByteSize() + sum(_growth(name, names) for name in node.output)
            for place, name in enumerate(node.input):
                size += _growth(name, names)
                if names.get(name, name) in quantized or (place == 1 and name in weights):
                    size += len(DEQUANTIZED)
            yield _field(size)
        for name in quantized - {source}:
            yield from _quantized_value(name)
        for name in weights:
            yield from _quantized_constant(name, self.tensors[name])
        read = {name for node in kept for name in node.input}
        for name, shape in self.tensors.items():
            if name in read and name not in weights:
                yield _field(_tensor(name, shape, _field(4 * math.prod(shape))))

    def _without_activations(self) -> tuple[list[onnx.NodeProto], dict[str, str]]:
        """The operators that remain, and the new names of values whose activation is gone."""
        made = {name for node in self.nodes for name in node.output}
        reads = [name for node in self.nodes for name in node.input]
        kept, names = [], {}
        for node in self.nodes:
            source = node.input[0]
            merges = source in made and reads.count(source) == 1
            if node.op_type in REMOVED_OPS and not _is_float(node) and merges:
                names[source] = node.output[0]
            else:
                kept.append(node)
        return kept, names

    def _quantized_values(
        self, kept: Sequence[onnx.NodeProto], names: Mapping[str, str]
    ) -> set[str]:
        """Values between operators that are stored as uint8, and the layer's output, which the next
        layer is taken to read as uint8."""
        values = {names.get(name, name) for name in kept[-1].output}
        for node in kept:
            if _is_quantized(node):
                values |= {names.get(node.input[0], node.input[0])}
                values |= {n for n in node.input[1:] if n not in self.tensors}
                values |= {names.get(name, name) for name in node.output}
        logits = {name for node in kept if node.op_type in FLOAT_OUTPUT_OPS for name in node.output}
        return values - logits


def _is_float(node: onnx.NodeProto) -> bool:
    return FLOAT_NODES in node.name


def _is_quantized(node: onnx.NodeProto) -> bool:
    return node.op_type in QUANTIZED_OPS and not _is_float(node)


def _growth(name: str, names: Mapping[str, str]) -> int:
    return len(names.get(name, name)) - len(name)


def _quantized_value(name: str) -> Iterator[int]:
    """Scale and zero point of an activation, and its two operators."""
    n = len(name)
    scale, zero_point = n + len("_scale"), n + len("_zero_point")
    quantized, back = n + len("_QuantizeLinear_Output"), n + len(DEQUANTIZED)
    yield _field(_field(scale) + 2 + _field(4))
    yield _field(_field(zero_point) + 2 + _field(2))
    for op, source, result in (("Quantize", n, quantized), ("Dequantize", quantized, back)):
        kind = len(op) + len("Linear")
        name_size = n + 1 + kind
        yield _field(sum(map(_field, (source, scale, zero_point, result, name_size, kind))))


def _quantized_constant(name: str, shape: tuple[int, ...]) -> Iterator[int]:
    """A weight (int8) or a bias (int32) with a scale and a zero point for each channel."""
    n, channels, is_bias = len(name), shape[:1], len(shape) == 1
    ints, stem = (4, f"{name}_quantized") if is_bias else (1, name)
    scale, zero_point, back = f"{stem}_scale", f"{stem}_zero_point", "" if is_bias else DEQUANTIZED
    yield _field(_tensor(f"{name}_quantized", shape, _field(ints * math.prod(shape))))
    yield _field(_tensor(scale, channels, _field(4 * shape[0])))
    yield _field(_tensor(zero_point, channels, _field(ints * shape[0])))
    texts = (
        *(n + len("_quantized"), len(scale), len(zero_point), n + len(back)),
        *(n + len("_DequantizeLinear"), len("DequantizeLinear")),
    )
    yield _field(sum(map(_field, texts)) + AXIS_ATTRIBUTE)


def _tensor(name: str, shape: tuple[int, ...], data: int) -> int:
    """A constant: its dimensions, type, name, and data as a field."""
    return sum(1 + _varint(size) for size in shape) + 2 + _field(len(name)) + data


def _field(size: int) -> int:
    """A tag of one byte, the length, and the content."""
    return 1 + _varint(size) + size


def _varint(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))

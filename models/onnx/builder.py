"""ONNX bytes straight from a plan and its tensors, without tracing.

Building the graph from a plan takes milliseconds, keeps tensor names readable and gives the same
bytes for the same input. Each batch norm is folded into its convolution. Weights are read, folded
and written one after the other, so the file is their only copy in memory.

Shapes: B batch, C channels, O output channels, R resolution. Operators: ONNX opset 17, IR 8,
which every ONNX Runtime since 1.12 reads.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from models.errors import InputError
from models.layers import Activation, LayerSpec, kind_of, tensor_shapes, window

OPSET = 17
IR_VERSION = 8
INPUT, LOGITS, FEATURES = "input", "logits", "features"
NO_FEATURES: Mapping[str, str] = MappingProxyType({})

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Tensors = Mapping[str, npt.NDArray[np.generic]]


def build_onnx(
    plan: Sequence[LayerSpec],
    tensors: Tensors,
    metadata: Mapping[str, str],
    *,
    bn_eps: float = 1e-5,
    features: Mapping[str, str] = NO_FEATURES,
) -> bytes:
    """Serialize one whole network.

    Args:
        plan: the layers of `models.spaces.plan.layer_plan`, image to logits.
        tensors: the state of the extracted subnet, by its torch names, any float type.
        metadata: text stored as the file's `metadata_props`.
        bn_eps: what the batch norms add to a variance (`SearchSpace.bn_eps`).
        features: further outputs, the name of each by its layer.

    Returns:
        A model with input `input` (batch, C, R, R) float32 and output `logits` (batch, classes)
        float32, before the features in their layers' order. Equal arguments give equal bytes.

    Raises:
        InputError: a tensor is missing or of another shape, or the plan does not chain.
    """
    if not plan or not kind_of(plan[-1]).flattens:
        raise InputError(
            "plan: expected a whole network that ends in its linear layer, got "
            f"{plan[-1].name if plan else 'no layers'}; use build_slice for parts of one"
        )
    return _build(plan, tensors, metadata, bn_eps, LOGITS, features)


def build_slice(layers: Sequence[LayerSpec], tensors: Tensors, *, bn_eps: float = 1e-5) -> bytes:
    """Serialize a chain of consecutive layers, for measuring.

    Returns:
        A model with input `input` (batch, C, size, size) float32 in the shape of the first layer's
        input, and output `features` in the shape of the last layer's output.

    Raises:
        InputError: as `build_onnx`.
    """
    return _build(layers, tensors, {}, bn_eps, FEATURES)


def _build(
    plan: Sequence[LayerSpec],
    tensors: Tensors,
    metadata: Mapping[str, str],
    bn_eps: float,
    output: str,
    features: Mapping[str, str] = NO_FEATURES,
) -> bytes:
    _check_chain(plan)
    shapes = tensor_shapes(plan)
    _check_tensors(tensors, shapes)
    graph = Graph(tensors, shapes, bn_eps)
    value = INPUT
    outputs = []
    for layer in plan:
        value = kind_of(layer).add_onnx(graph, layer, value)
        if (name := features.get(layer.name)) is not None:
            value = graph.renamed(value, name)
            outputs.append(_output(name, layer))
    graph.renamed(value, output)
    first = plan[0]
    shape_in: list[str | int] = ["batch", first.in_channels, first.in_size, first.in_size]
    head = onnx.GraphProto(node=graph.nodes, name="subnet")
    tail = onnx.GraphProto(
        input=[helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape_in)],
        output=[_output(output, plan[-1]), *outputs],
    )
    front = onnx.ModelProto(ir_version=IR_VERSION, producer_name="subnet-search")
    back = onnx.ModelProto(opset_import=[helper.make_opsetid("", OPSET)])
    helper.set_model_props(back, dict(sorted(metadata.items())))
    return _joined(front, head, graph.initializers, tail, back)


def _output(name: str, layer: LayerSpec) -> onnx.ValueInfoProto:
    """The output of a layer as one of the graph."""
    shape: list[str | int] = ["batch", layer.out_channels]
    if not kind_of(layer).flattens:
        shape += [layer.out_size, layer.out_size]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _joined(
    front: onnx.ModelProto,
    head: onnx.GraphProto,
    initializers: Sequence[Initializer],
    tail: onnx.GraphProto,
    back: onnx.ModelProto,
) -> bytes:
    """The model's bytes, its weights written as they are made, one at a time.

    They are those of `SerializeToString(deterministic=True)` on the whole model, which would hold
    every weight three times. Fields come in the order of their numbers (onnx.proto): of a model
    1, 2, graph 7, 8, 14; of a graph node 1, name 2, initializer 5, input 11, output 12; of a tensor
    dims 1, type 2, name 8, data 9.
    """
    ends = [part.SerializeToString(deterministic=True) for part in (head, tail)]
    heads = []
    for item in initializers:
        tensor = TensorProto(dims=item.shape, data_type=TensorProto.FLOAT, name=item.name)
        described = tensor.SerializeToString(deterministic=True) + _field(9, item.nbytes)
        heads.append(_field(5, len(described) + item.nbytes) + described)
    size = sum(map(len, (*ends, *heads))) + sum(item.nbytes for item in initializers)
    out = io.BytesIO()
    out.write(front.SerializeToString(deterministic=True) + _field(7, size) + ends[0])
    for start, item in zip(heads, initializers, strict=True):
        out.write(start)
        out.write(np.ascontiguousarray(item.make(), "<f4").data)
    out.write(ends[1] + back.SerializeToString(deterministic=True))
    return out.getvalue()


def _field(number: int, length: int) -> bytes:
    """The start of a length-delimited field: its tag and its length, as varints."""
    encoded, rest = bytearray([number << 3 | 2]), length
    while rest > 127:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*encoded, rest])


@dataclass(frozen=True, slots=True)
class Initializer:
    """A constant of the graph, made when it is written."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        return 4 * math.prod(self.shape)


def _check_tensors(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"tensors: {name!r} is missing; expected shape {shape}")
        if tensors[name].shape != shape:
            raise InputError(f"tensors[{name!r}]: expected {shape}, got {tensors[name].shape}")


def _check_chain(plan: Sequence[LayerSpec]) -> None:
    if not plan:
        raise InputError("plan: expected at least one layer, got none")
    if len({layer.name for layer in plan}) != len(plan):
        raise InputError(f"plan: expected distinct names, got {[layer.name for layer in plan]}")
    for before, after in zip(plan, plan[1:], strict=False):
        given = (before.out_channels, before.out_size)
        wanted = (after.in_channels, after.in_size)
        if given != wanted:
            raise InputError(
                f"plan: layer {after.name!r} expects (channels, size) {wanted}, "
                f"but {before.name!r} gives {given}"
            )


class Graph:
    """An `OnnxGraph`: nodes and initializers, in the order in which they run."""

    def __init__(
        self, tensors: Tensors, shapes: Mapping[str, tuple[int, ...]], bn_eps: float
    ) -> None:
        self.tensors, self.shapes = tensors, shapes
        self.bn_eps = bn_eps
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[Initializer] = []

    def activation(self, act: Activation | None, name: str, x: str) -> str:
        """See `OnnxGraph`."""
        match act:
            case None:
                return x
            case "relu":
                return self.node("Relu", f"{name}.relu", x)
            case "relu6":
                low = self._add(f"{name}.relu6.low", (), lambda: np.array(0, np.float32))
                high = self._add(f"{name}.relu6.high", (), lambda: np.array(6, np.float32))
                return self.node("Clip", f"{name}.relu6", x, low, high)
            case "hswish":
                # ONNX Runtime fuses this operator, and x * HardSigmoid(x), into the
                # convolution before it; written out with Clip it stays three operators.
                return self.node("HardSwish", f"{name}.hswish", x)

    def conv(
        self, name: str, x: str, norm: str | None = None, *, stride: int = 1, groups: int = 1
    ) -> str:
        """See `OnnxGraph`."""
        weight, bias = f"{name}.weight", f"{name}.bias"
        shape = self.shapes[weight]
        inputs = [x]
        if norm:
            scale, shift = self._folded(norm)
            column = scale[:, None, None, None].astype(np.float32)
            inputs.append(self._add(weight, shape, lambda: self._tensor(weight) * column))
            inputs.append(self._add(bias, shape[:1], lambda: shift.astype(np.float32)))
        else:
            inputs += [self.constant(n) for n in (weight, bias) if n in self.shapes]
        return self.node("Conv", name, *inputs, **window(shape[-1], stride), group=groups)

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """See `OnnxGraph`."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def renamed(self, value: str, name: str) -> str:
        """Call the value `value`, which no operator reads yet, `name`."""
        writer = next(node for node in reversed(self.nodes) if value in node.output)
        writer.output[0] = name
        return name

    def constant(self, name: str) -> str:
        """See `OnnxGraph`."""
        return self._add(name, self.shapes[name], partial(self._tensor, name))

    def _add(self, name: str, shape: tuple[int, ...], make: Callable[[], Array]) -> str:
        self.initializers.append(Initializer(name, shape, make))
        return name

    def _folded(self, norm: str) -> tuple[Floats, Floats]:
        """Scale and shift of each channel by a batch norm, in float64, because a variance can be
        small."""
        gamma, beta, mean, var = (
            self.tensors[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(var + self.bn_eps)
        return scale, beta - mean * scale

    def _tensor(self, name: str) -> Array:
        return self.tensors[name].astype(np.float32, copy=False)

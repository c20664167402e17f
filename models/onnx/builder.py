"""ONNX bytes straight from a plan and its tensors, without tracing.

Building the graph from `models.spaces.plan` takes milliseconds, keeps tensor names readable and
gives the same bytes for the same input. Each batch norm is folded into its convolution. Weights are
read, folded and written one after the other, so that the file is the only copy of them.

Shapes: B batch, C channels, O output channels, R resolution. Operators: ONNX opset 17, IR 8,
which every ONNX Runtime since 1.12 reads.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from models.errors import InputError
from models.spaces import LayerSpec

OPSET = 17
IR_VERSION = 8
INPUT, LOGITS, FEATURES = "input", "logits", "features"
ENVELOPE_BYTES = 77
"""Of a file around its layers: versions, name, input and output; metadata comes on top."""

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Tensors = Mapping[str, npt.NDArray[np.generic]]


def build_onnx(
    plan: Sequence[LayerSpec],
    tensors: Tensors,
    metadata: Mapping[str, str],
    *,
    bn_eps: float = 1e-5,
) -> bytes:
    """Serialize one whole network.

    Args:
        plan: the layers of `models.spaces.plan.layer_plan`, image to logits.
        tensors: the state of the extracted subnet, by its torch names, any float type.
        metadata: text stored as the file's `metadata_props`.
        bn_eps: what the batch norms add to a variance (`SearchSpace.bn_eps`).

    Returns:
        A model with input `input` (batch, C, R, R) float32 and output `logits` (batch, classes)
        float32. Equal arguments give equal bytes.

    Raises:
        InputError: a tensor is missing or of another shape, or the plan does not chain.
    """
    if not plan or plan[-1].kind != "linear":
        raise InputError(
            "plan: expected a whole network that ends in its linear layer, got "
            f"{plan[-1].name if plan else 'no layers'}; use build_slice for parts of one"
        )
    return _build(plan, tensors, metadata, bn_eps, LOGITS)


def build_slice(layers: Sequence[LayerSpec], tensors: Tensors, *, bn_eps: float = 1e-5) -> bytes:
    """Serialize a chain of consecutive layers, for measuring.

    Returns:
        A model with input `input` (batch, C, size, size) float32, shaped as the first layer
        wants it, and output `features`, shaped as the last layer leaves it.

    Raises:
        InputError: as `build_onnx`.
    """
    return _build(layers, tensors, {}, bn_eps, FEATURES)


def stored_bytes(layer: LayerSpec) -> int:
    """What one layer adds to the file of a network, to a few bytes.

    Found by building the layer alone, of zeros; of its name only the length matters, and its
    size in pixels does not.
    """
    size = layer.kernel * layer.stride
    alike = replace(layer, name="n" * len(layer.name), in_size=size, resolution=0)
    return _stored_bytes(alike)


@lru_cache(maxsize=4096)
def _stored_bytes(layer: LayerSpec) -> int:
    zeros = {name: np.zeros(s, np.float32) for name, s in tensor_shapes([layer]).items()}
    return len(build_slice([layer], zeros)) - ENVELOPE_BYTES


def _build(
    plan: Sequence[LayerSpec],
    tensors: Tensors,
    metadata: Mapping[str, str],
    bn_eps: float,
    output: str,
) -> bytes:
    _check_chain(plan)
    shapes = tensor_shapes(plan)
    _check_tensors(tensors, shapes)
    graph = _Graph(tensors, shapes, bn_eps)
    value = INPUT
    for layer in plan:
        value = graph.layer(layer, value)
    graph.nodes[-1].output[0] = output
    first, last = plan[0], plan[-1]
    shape_in: list[str | int] = ["batch", first.in_channels, first.in_size, first.in_size]
    shape_out: list[str | int] = ["batch", last.out_channels]
    if last.kind != "linear":
        shape_out += [last.out_size, last.out_size]
    head = onnx.GraphProto(node=graph.nodes, name="subnet")
    tail = onnx.GraphProto(
        input=[helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape_in)],
        output=[helper.make_tensor_value_info(output, TensorProto.FLOAT, shape_out)],
    )
    front = onnx.ModelProto(ir_version=IR_VERSION, producer_name="subnet-search")
    back = onnx.ModelProto(opset_import=[helper.make_opsetid("", OPSET)])
    helper.set_model_props(back, dict(sorted(metadata.items())))
    return _joined(front, head, graph.initializers, tail, back)


def _joined(
    front: onnx.ModelProto,
    head: onnx.GraphProto,
    initializers: Sequence[_Initializer],
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
class _Initializer:
    """A constant of the graph, made when it is written."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        return 4 * math.prod(self.shape)


def tensor_shapes(layers: Sequence[LayerSpec]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of extracted `layers`, as in their torch state.

    A 4-D weight is (out, in / groups, kernel, kernel).
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)

    for spec in layers:
        n, k, mid, se = spec.name, spec.kernel, spec.mid_channels, spec.se_channels
        match spec.kind:
            case "conv":
                shapes[f"{n}.conv.weight"] = (spec.out_channels, spec.in_channels, k, k)
                if spec.norm:
                    norm(f"{n}.norm", spec.out_channels)
            case "mbconv":
                if spec.expands:
                    shapes[f"{n}.expand.weight"] = (mid, spec.in_channels, 1, 1)
                    norm(f"{n}.expand_norm", mid)
                shapes[f"{n}.depthwise.weight"] = (mid, 1, k, k)
                norm(f"{n}.depthwise_norm", mid)
                if se:
                    shapes[f"{n}.se_reduce.weight"] = (se, mid, 1, 1)
                    shapes[f"{n}.se_reduce.bias"] = (se,)
                    shapes[f"{n}.se_expand.weight"] = (mid, se, 1, 1)
                    shapes[f"{n}.se_expand.bias"] = (mid,)
                shapes[f"{n}.project.weight"] = (spec.out_channels, mid, 1, 1)
                norm(f"{n}.project_norm", spec.out_channels)
            case "bottleneck":
                shapes[f"{n}.reduce.weight"] = (mid, spec.in_channels, 1, 1)
                norm(f"{n}.reduce_norm", mid)
                shapes[f"{n}.spatial.weight"] = (mid, mid, k, k)
                norm(f"{n}.spatial_norm", mid)
                shapes[f"{n}.project.weight"] = (spec.out_channels, mid, 1, 1)
                norm(f"{n}.project_norm", spec.out_channels)
                if not spec.skip:
                    shapes[f"{n}.shortcut.weight"] = (spec.out_channels, spec.in_channels, 1, 1)
                    norm(f"{n}.shortcut_norm", spec.out_channels)
            case "pool" | "maxpool":
                pass
            case "linear":
                shapes[f"{n}.weight"] = (spec.out_channels, spec.in_channels)
                shapes[f"{n}.bias"] = (spec.out_channels,)
    return shapes


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


class _Graph:
    """Nodes and initializers, in the order in which they run."""

    def __init__(
        self, tensors: Tensors, shapes: Mapping[str, tuple[int, ...]], bn_eps: float
    ) -> None:
        self.tensors, self.shapes = tensors, shapes
        self.bn_eps = bn_eps
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[_Initializer] = []

    # -- layers --------------------------------------------------------------------------

    def layer(self, spec: LayerSpec, x: str) -> str:
        """Add one layer that reads the value `x`; returns the value that it writes."""
        n = spec.name
        match spec.kind:
            case "conv":
                norm = f"{n}.norm" if spec.norm else None
                y = self._conv(f"{n}.conv", x, norm, stride=spec.stride)
                y = self._activation(spec, f"{n}.conv", y)
                return self._node("Add", f"{n}.skip", y, x) if spec.skip else y
            case "mbconv":
                return self._mbconv(spec, x)
            case "bottleneck":
                return self._bottleneck(spec, x)
            case "maxpool":
                return self._node("MaxPool", n, x, **_window(spec.kernel, spec.stride))
            case "pool":
                return self._node("GlobalAveragePool", n, x)
            case "linear":
                flat = self._node("Flatten", f"{n}.flatten", x, axis=1)
                weight, bias = self._constant(f"{n}.weight"), self._constant(f"{n}.bias")
                return self._node("Gemm", n, flat, weight, bias, transB=1)

    def _mbconv(self, spec: LayerSpec, x: str) -> str:
        n, mid = spec.name, spec.mid_channels
        y = x
        if spec.expands:
            y = self._conv(f"{n}.expand", y, f"{n}.expand_norm")
            y = self._activation(spec, f"{n}.expand", y)
        depthwise, norm = f"{n}.depthwise", f"{n}.depthwise_norm"
        y = self._conv(depthwise, y, norm, stride=spec.stride, groups=mid)
        y = self._activation(spec, depthwise, y)
        if spec.se_channels:
            z = self._node("GlobalAveragePool", f"{n}.se_mean", y)
            z = self._conv(f"{n}.se_reduce", z)
            z = self._node("Relu", f"{n}.se_reduce.relu", z)
            z = self._conv(f"{n}.se_expand", z)
            z = self._node("HardSigmoid", f"{n}.se_gate", z, alpha=1 / 6, beta=0.5)
            y = self._node("Mul", f"{n}.se_scale", y, z)
        y = self._conv(f"{n}.project", y, f"{n}.project_norm")
        return self._node("Add", f"{n}.skip", y, x) if spec.skip else y

    def _bottleneck(self, spec: LayerSpec, x: str) -> str:
        n = spec.name
        y = self._conv(f"{n}.reduce", x, f"{n}.reduce_norm")
        y = self._activation(spec, f"{n}.reduce", y)
        y = self._conv(f"{n}.spatial", y, f"{n}.spatial_norm", stride=spec.stride)
        y = self._activation(spec, f"{n}.spatial", y)
        y = self._conv(f"{n}.project", y, f"{n}.project_norm")
        z = x
        if not spec.skip:
            if spec.stride > 1:
                window = {"kernel_shape": [spec.stride] * 2, "strides": [spec.stride] * 2}
                z = self._node("AveragePool", f"{n}.shortcut_mean", z, **window, ceil_mode=1)
            z = self._conv(f"{n}.shortcut", z, f"{n}.shortcut_norm")
        return self._activation(spec, f"{n}.sum", self._node("Add", f"{n}.skip", y, z))

    # -- operators -----------------------------------------------------------------------

    def _activation(self, spec: LayerSpec, name: str, x: str) -> str:
        match spec.act:
            case None:
                return x
            case "relu":
                return self._node("Relu", f"{name}.relu", x)
            case "relu6":
                low = self._constant(f"{name}.relu6.low", (), lambda: np.array(0, np.float32))
                high = self._constant(f"{name}.relu6.high", (), lambda: np.array(6, np.float32))
                return self._node("Clip", f"{name}.relu6", x, low, high)
            case "hswish":
                # ONNX Runtime fuses this operator, and x * HardSigmoid(x), into the
                # convolution before it; written out with Clip it stays three operators.
                return self._node("HardSwish", f"{name}.hswish", x)

    def _conv(
        self, name: str, x: str, norm: str | None = None, *, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution with its own bias, or batch norm `norm` folded into it, or neither."""
        weight, bias = f"{name}.weight", f"{name}.bias"
        shape = self.shapes[weight]
        inputs = [x]
        if norm:
            scale, shift = self._folded(norm)
            column = scale[:, None, None, None].astype(np.float32)
            inputs.append(self._constant(weight, shape, lambda: self._tensor(weight) * column))
            inputs.append(self._constant(bias, shape[:1], lambda: shift.astype(np.float32)))
        else:
            inputs += [self._constant(n) for n in (weight, bias) if n in self.shapes]
        window = _window(shape[-1], stride)
        return self._node("Conv", name, *inputs, **window, group=groups)

    def _folded(self, norm: str) -> tuple[Floats, Floats]:
        """What a batch norm multiplies each channel of the convolution before it with, and adds;
        in float64, because a variance can be small."""
        gamma, beta, mean, var = (
            self.tensors[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(var + self.bn_eps)
        return scale, beta - mean * scale

    def _tensor(self, name: str) -> Array:
        return self.tensors[name].astype(np.float32, copy=False)

    def _node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add one operator; its only output carries its name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _constant(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        make: Callable[[], Array] | None = None,
    ) -> str:
        """Add the tensor `name`, or under that name what `make` gives."""
        if make is None:
            shape, make = self.shapes[name], partial(self._tensor, name)
        assert shape is not None
        self.initializers.append(_Initializer(name, shape, make))
        return name


def _window(kernel: int, stride: int) -> dict[str, list[int]]:
    """Attributes of a kxk window that keeps the size at stride 1."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}

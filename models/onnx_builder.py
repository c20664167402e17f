"""ONNX bytes straight from a plan and its tensors, without tracing.

Building the graph from `models.plan` takes milliseconds, keeps tensor names readable and gives
the same bytes for the same input. Each batch norm is folded into its convolution, in float64.

Shapes: B batch, C channels, O output channels, R resolution. Operators: ONNX opset 17, IR 8,
which every ONNX Runtime since 1.12 reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.errors import InputError
from models.plan import LayerSpec

OPSET = 17
IR_VERSION = 8
INPUT, LOGITS, FEATURES = "input", "logits", "features"
ENVELOPE_BYTES = 77
"""Of a file around its layers: versions, name, input and output; metadata comes on top."""

Array = npt.NDArray[np.float32]
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
        plan: the layers of `models.plan.layer_plan`, image to logits.
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
    graph = _Graph(_checked(tensors, tensor_shapes(plan)), bn_eps)
    value = INPUT
    for layer in plan:
        value = graph.layer(layer, value)
    graph.nodes[-1].output[0] = output
    first, last = plan[0], plan[-1]
    shape_in: list[str | int] = ["batch", first.in_channels, first.in_size, first.in_size]
    shape_out: list[str | int] = ["batch", last.out_channels]
    if last.kind != "linear":
        shape_out += [last.out_size, last.out_size]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "subnet",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape_in)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape_out)],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="subnet-search",
    )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


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


def _checked(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"tensors: {name!r} is missing; expected shape {shape}")
        if tensors[name].shape != shape:
            raise InputError(f"tensors[{name!r}]: expected {shape}, got {tensors[name].shape}")
    return {name: tensors[name].astype(np.float32) for name in shapes}


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

    def __init__(self, tensors: Mapping[str, Array], bn_eps: float) -> None:
        self.tensors = tensors
        self.bn_eps = bn_eps
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

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
                low = self._constant(f"{name}.relu6.low", np.array(0, np.float32))
                high = self._constant(f"{name}.relu6.high", np.array(6, np.float32))
                return self._node("Clip", f"{name}.relu6", x, low, high)
            case "hswish":
                # ONNX Runtime fuses this operator, and x * HardSigmoid(x), into the
                # convolution before it; written out with Clip it stays three operators.
                return self._node("HardSwish", f"{name}.hswish", x)

    def _conv(
        self, name: str, x: str, norm: str | None = None, *, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution with its own bias, or batch norm `norm` folded into it, or neither."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        if norm:
            weight, bias = self._folded(weight, norm)
        inputs = [x, self._constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self._constant(f"{name}.bias", bias))
        window = _window(weight.shape[-1], stride)
        return self._node("Conv", name, *inputs, **window, group=groups)

    def _folded(self, weight: Array, norm: str) -> tuple[Array, Array]:
        """Weight and bias of the one convolution that equals conv, then batch norm."""
        gamma, beta, mean, var = (
            self.tensors[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(var + self.bn_eps)
        folded = weight * scale[:, None, None, None]
        return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)

    def _node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add one operator; its only output carries its name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: Array | None = None) -> str:
        """Add the tensor `name`, or `value` under that name."""
        data = self.tensors[name] if value is None else value
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name


def _window(kernel: int, stride: int) -> dict[str, list[int]]:
    """Attributes of a kxk window that keeps the size at stride 1."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}

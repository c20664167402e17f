"""What a layer kind must say, and the registry that finds a kind by its name.

A new kind is one object: subclass `LayerKind`, call `register_kind`, and every part of the
project (plans, costs, supernets, ONNX files, latency tables, pictures) can work with it. No torch
and no ONNX here: a kind imports its torch modules inside `elastic` and `plain`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from models.errors import InputError
from models.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from models.layers.modules import ElasticLayer
    from models.layers.published import PublishedModule
    from models.layers.spec import Activation, LayerSpec

Shapes = dict[str, tuple[int, ...]]
"""Shapes of a layer's tensors by name inside the layer."""

WorkUnit = Literal[
    "pointwise_macs",
    "dense_macs",  # of convolutions larger than 1x1 that mix channels
    "depthwise_k3_macs",
    "depthwise_k5_macs",
    "depthwise_k7_macs",
    "depthwise_strided_macs",  # counted again, besides those of the kernel size
    "dense_values",  # activations read and written by convolutions that mix channels
    "depthwise_values",  # activations read and written by depthwise convolutions and pooling
    "weights",
    "squeezes",  # squeeze-and-excitations
    "squeezed_values",  # activations that they average and scale
    "hswish_values",
    "dense_layers",
    "depthwise_layers",
    "blocks",
]
"""What a layer computes and moves, for one image. The time of a layer is estimated as a sum of
one time for each unit."""
WORK_UNITS: tuple[WorkUnit, ...] = get_args(WorkUnit)
Work = Mapping[WorkUnit, float]


ACTIVATION_BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Of one activation, by precision."""
HSWISH_BYTES = 8
"""Of one value in a hard swish of an int8 network: it has no int8 form, so the value is there in
float32 as it was, and times its gate."""
SQUEEZE_BYTES = 5
"""Of one value that an int8 network scales by squeeze-and-excitation, which stays in float32: the
value in both precisions."""


class OnnxGraph(Protocol):
    """What a kind adds ONNX operators to. A value is named after the operator that writes it."""

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add one operator of one output; returns the output's name."""

    def conv(
        self, name: str, x: str, norm: str | None = None, *, stride: int = 1, groups: int = 1
    ) -> str:
        """Add a convolution of the tensor `{name}.weight`, padding k // 2, with its own bias, or
        with the batch norm `norm` folded into it, or with neither."""

    def activation(self, act: Activation | None, name: str, x: str) -> str:
        """Add an activation after the operator `name`; None adds nothing."""

    def constant(self, name: str) -> str:
        """Add the tensor `name` of the network."""


@dataclass(frozen=True, slots=True)
class TorchLayer:
    """A module of one shape that needs only torch: `module_type(*arguments, **options)`. Its source
    and this call are written into folders that are used without this project."""

    module_type: type[nn.Module]
    """Of `torch.nn`, or a class whose source uses no other names than `torch`, `nn`, `F` and
    `Tensor`."""
    arguments: tuple[int, ...]
    """Of a kind that flattens, the second is the number of outputs."""
    options: Mapping[str, Any]


class LayerKind(ABC):
    """One kind of layer. Objects are stateless; every method takes the layer's shape."""

    name: ClassVar[str]
    is_block: ClassVar[bool] = False
    """Whether it is a block of several convolutions."""
    flattens: ClassVar[bool] = False
    """Whether the output has no height and width: (B, C)."""
    has_window: ClassVar[bool] = True
    """Whether kernel and stride mean something."""

    # -- shape and cost --------------------------------------------------------------------

    def out_size(self, spec: LayerSpec) -> int:
        """Output height and width, pixels; by default that of padding k // 2."""
        return (spec.in_size - 1) // spec.stride + 1

    def expansion_base(self, spec: LayerSpec) -> int:
        """The channels that an expansion ratio of a block multiplies; by default the input's."""
        return spec.in_channels

    @abstractmethod
    def macs(self, spec: LayerSpec) -> int:
        """See `LayerSpec.macs`."""

    def params(self, spec: LayerSpec) -> int:
        """See `LayerSpec.params`; by default all tensors but the running statistics. The built-in
        kinds write their sums out, which is faster: search adds up thousands of layers."""
        return sum(
            math.prod(shape)
            for name, shape in self.tensor_shapes(spec).items()
            if not name.endswith(("running_mean", "running_var"))
        )

    def live_values(self, spec: LayerSpec) -> int:
        """See `LayerSpec.live_values`; by default input and output."""
        return spec.in_channels * spec.in_size**2 + spec.out_channels * self.out_size(spec) ** 2

    def live_bytes(self, spec: LayerSpec, precision: str) -> int:
        """See `LayerSpec.live_bytes`; by default all values are of that precision, but for
        `int8_float_bytes`."""
        live = ACTIVATION_BYTES[precision] * self.live_values(spec)
        return max(live, self.int8_float_bytes(spec)) if precision == "int8" else live

    def int8_float_bytes(self, spec: LayerSpec) -> int:
        """Most bytes alive in an int8 network while this layer computes something in float32; by
        default a hard swish of its output."""
        leave = spec.out_channels * self.out_size(spec) ** 2
        return HSWISH_BYTES * leave if spec.act == "hswish" else 0

    @abstractmethod
    def work(self, spec: LayerSpec) -> Work:
        """What the layer computes and moves for one image; units not named are 0."""

    # -- tensors and files -----------------------------------------------------------------

    @abstractmethod
    def tensor_shapes(self, spec: LayerSpec) -> Shapes:
        """The tensors of `plain(spec)` by name inside the layer, without batch norms' counters.

        A 4-D weight is (out, in / groups, kernel, kernel).
        """

    @abstractmethod
    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """Add the layer, which reads the value `x`, to a graph; returns the value it writes."""

    def published_names(
        self, spec: LayerSpec, module: PublishedModule
    ) -> Iterator[tuple[str, str]]:
        """(our name inside the layer, name in a published checkpoint) of each tensor.

        Raises:
            InputError: if no checkpoint with this kind was published.
        """
        raise InputError(f"layer {spec.name!r}: no published checkpoint has {self.name!r} layers")

    # -- modules ---------------------------------------------------------------------------

    @abstractmethod
    def elastic(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> ElasticLayer:
        """The supernet's module, built for the largest shape.

        Args:
            kernels: all kernel sizes of the layer, ascending.
        """

    @abstractmethod
    def plain(self, spec: LayerSpec, bn_eps: float) -> nn.Module:
        """An ordinary module of this one shape."""

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """What computes the same as `plain`, with the same tensors, and needs only torch.

        Raises:
            InputError: if this kind has no such module.
        """
        raise InputError(
            f"layer {spec.name!r}: kind {self.name!r} has no module that needs only torch "
            "(`LayerKind.standalone`), so the network cannot be written as a torch folder"
        )


KINDS: Registry[LayerKind] = Registry("layer kind")


def register_kind(kind: LayerKind) -> None:
    """Make `kind` known under its name.

    Raises:
        InputError: if another kind has that name.
    """
    KINDS.register(kind.name, kind)


def unregister_kind(name: str) -> None:
    """Remove a kind; there may be none of that name."""
    KINDS.unregister(name)


def kind_of(spec: LayerSpec) -> LayerKind:
    """The kind of a layer.

    Raises:
        NotFound: if it is not registered.
    """
    return KINDS[spec.kind]

"""Names and shapes of the tensors of layers, for whatever reads or writes weights."""

from __future__ import annotations

from collections.abc import Iterable

from models.layers.kind import Shapes, kind_of
from models.layers.spec import LayerSpec

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def tensor_shapes(layers: Iterable[LayerSpec]) -> Shapes:
    """Names and shapes of the tensors of extracted `layers`, as in their torch state.

    A 4-D weight is (out, in / groups, kernel, kernel).
    """
    return {
        f"{spec.name}.{name}": shape
        for spec in layers
        for name, shape in kind_of(spec).tensor_shapes(spec).items()
    }


def conv_norm_shapes(name: str, *shape: int) -> Shapes:
    """A convolution without bias and the batch norm after it."""
    norm = {f"{name}_norm.{part}": shape[:1] for part in NORM_PARTS}
    return {f"{name}.weight": shape, **norm}


def window(kernel: int, stride: int) -> dict[str, list[int]]:
    """ONNX attributes of a kxk window that keeps the size at stride 1."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}

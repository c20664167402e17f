"""Kinds "pool", the mean over height and width, and "maxpool", the maximum over a kxk window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.layers.kind import LayerKind, OnnxGraph, Shapes, TorchLayer, Work
from models.layers.spec import LayerSpec
from models.layers.tensors import window

if TYPE_CHECKING:
    from torch import nn

    from models.layers.modules import ElasticLayer


class _Pooling(LayerKind):
    """What both have in common: no weights and no multiply-accumulates."""

    def macs(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return 0

    def tensor_shapes(self, spec: LayerSpec) -> Shapes:
        """See `LayerKind`."""
        return {}


class MeanPool(_Pooling):
    """Mean over height and width, both axes kept."""

    name = "pool"
    has_window = False

    def out_size(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return 1

    def work(self, spec: LayerSpec) -> Work:
        """See `LayerKind`."""
        return {"depthwise_values": spec.in_channels * spec.in_size**2}

    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """See `LayerKind`."""
        return graph.node("GlobalAveragePool", spec.name, x)

    def elastic(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> ElasticLayer:
        """See `LayerKind`."""
        from models.layers.modules import ElasticPool

        return ElasticPool()

    def plain(self, spec: LayerSpec, bn_eps: float) -> nn.Module:
        """See `LayerKind`."""
        from models.layers.modules import Pool

        return Pool()

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """See `LayerKind`."""
        from models.layers.modules import MeanPool

        return TorchLayer(MeanPool, (), {})


class MaxPool(_Pooling):
    """Maximum over a kxk window."""

    name = "maxpool"

    def work(self, spec: LayerSpec) -> Work:
        """See `LayerKind`."""
        return {"depthwise_values": spec.live_values}

    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """See `LayerKind`."""
        return graph.node("MaxPool", spec.name, x, **window(spec.kernel, spec.stride))

    def elastic(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> ElasticLayer:
        """See `LayerKind`."""
        from models.layers.modules import ElasticMaxPool

        return ElasticMaxPool()

    def plain(self, spec: LayerSpec, bn_eps: float) -> nn.Module:
        """See `LayerKind`."""
        from models.layers.modules import MaxPool

        return MaxPool(spec)

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """See `LayerKind`."""
        from models.layers.modules import MAX_POOL

        options = {"stride": spec.stride, "padding": spec.kernel // 2}
        return TorchLayer(MAX_POOL, (spec.kernel,), options)

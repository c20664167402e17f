"""Kind "linear": flatten, then a fully connected layer with bias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.layers.kind import LayerKind, OnnxGraph, Shapes, TorchLayer, Work
from models.layers.published import PublishedModule
from models.layers.spec import LayerSpec

if TYPE_CHECKING:
    from models.layers.modules import Classifier, ElasticLinear


class Linear(LayerKind):
    """The object of this kind; the module says what is computed."""

    name = "linear"
    flattens = True
    has_window = False

    def out_size(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return 1

    def macs(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return spec.in_channels * spec.out_channels

    def params(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return (spec.in_channels + 1) * spec.out_channels

    def work(self, spec: LayerSpec) -> Work:
        """See `LayerKind`."""
        return {"weights": spec.params, "dense_layers": 1}

    def tensor_shapes(self, spec: LayerSpec) -> Shapes:
        """See `LayerKind`."""
        return {"weight": (spec.out_channels, spec.in_channels), "bias": (spec.out_channels,)}

    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """See `LayerKind`."""
        flat = graph.node("Flatten", f"{spec.name}.flatten", x, axis=1)
        weight = graph.constant(f"{spec.name}.weight")
        bias = graph.constant(f"{spec.name}.bias")
        return graph.node("Gemm", spec.name, flat, weight, bias, transB=1)

    def published_names(
        self, spec: LayerSpec, module: PublishedModule
    ) -> Iterator[tuple[str, str]]:
        """See `LayerKind`."""
        for part in ("weight", "bias"):
            yield part, f"{module.path}.{part}"

    def elastic(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> ElasticLinear:
        """See `LayerKind`."""
        from models.layers.modules import ElasticLinear

        return ElasticLinear(spec.in_channels, spec.out_channels)

    def plain(self, spec: LayerSpec, bn_eps: float) -> Classifier:
        """See `LayerKind`."""
        from models.layers.modules import Classifier

        return Classifier(spec.in_channels, spec.out_channels)

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """See `LayerKind`."""
        from models.layers.modules import FlatLinear

        return TorchLayer(FlatLinear, (spec.in_channels, spec.out_channels), {})

"""Kind "conv": convolution, batch norm unless `norm` is false, activation, optional skip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.layers.kind import LayerKind, OnnxGraph, Shapes, TorchLayer, Work
from models.layers.published import NORM_TENSORS, PublishedModule
from models.layers.spec import LayerSpec
from models.layers.tensors import NORM_PARTS

if TYPE_CHECKING:
    from models.layers.modules import ConvLayer, ElasticConvLayer


class Conv(LayerKind):
    """The object of this kind; the module says what is computed."""

    name = "conv"

    def macs(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return spec.kernel**2 * spec.in_channels * spec.out_channels * self.out_size(spec) ** 2

    def params(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        weights = spec.kernel**2 * spec.in_channels * spec.out_channels
        return weights + 2 * spec.out_channels * spec.norm

    def work(self, spec: LayerSpec) -> Work:
        """See `LayerKind`."""
        leave = spec.out_channels * self.out_size(spec) ** 2
        return {
            "pointwise_macs" if spec.kernel == 1 else "dense_macs": spec.macs,
            "dense_values": spec.in_channels * spec.in_size**2 + leave,
            "weights": spec.params,
            "hswish_values": leave * (spec.act == "hswish"),
            "dense_layers": 1,
        }

    def tensor_shapes(self, spec: LayerSpec) -> Shapes:
        """See `LayerKind`."""
        weight = (spec.out_channels, spec.in_channels, spec.kernel, spec.kernel)
        norm = {f"norm.{part}": weight[:1] for part in NORM_PARTS} if spec.norm else {}
        return {"conv.weight": weight, **norm}

    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """See `LayerKind`."""
        name = f"{spec.name}.conv"
        norm = f"{spec.name}.norm" if spec.norm else None
        y = graph.activation(spec.act, name, graph.conv(name, x, norm, stride=spec.stride))
        return graph.node("Add", f"{spec.name}.skip", y, x) if spec.skip else y

    def published_names(
        self, spec: LayerSpec, module: PublishedModule
    ) -> Iterator[tuple[str, str]]:
        """See `LayerKind`."""
        yield "conv.weight", f"{module.path}.{module.conv}.weight"
        if spec.norm:
            for part in NORM_TENSORS:
                yield f"norm.{part}", f"{module.path}.{module.norm}.{part}"

    def elastic(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> ElasticConvLayer:
        """See `LayerKind`."""
        from models.layers.modules import ElasticConvLayer

        return ElasticConvLayer(spec, bn_eps)

    def plain(self, spec: LayerSpec, bn_eps: float) -> ConvLayer:
        """See `LayerKind`."""
        from models.layers.modules import ConvLayer

        return ConvLayer(spec, bn_eps)

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """See `LayerKind`."""
        from models.layers.modules import ACTIVATIONS, ConvNormAct

        options = {
            "kernel": spec.kernel,
            "stride": spec.stride,
            "act": ACTIVATIONS[spec.act],
            "norm": spec.norm,
            "skip": spec.skip,
            "eps": bn_eps,
        }
        return TorchLayer(ConvNormAct, (spec.in_channels, spec.out_channels), options)

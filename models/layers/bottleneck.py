"""Kind "bottleneck" of ResNet-D (He et al. 2019): 1x1, kxk with the stride, 1x1 without
activation, each with batch norm. The activation follows the sum with the shortcut, which is the
input where `skip`, else its mean over the stride, a 1x1 convolution and batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.layers.kind import LayerKind, OnnxGraph, Shapes, TorchLayer, Work
from models.layers.published import PublishedModule
from models.layers.spec import LayerSpec
from models.layers.tensors import conv_norm_shapes

if TYPE_CHECKING:
    from models.layers.modules import Bottleneck as PlainBottleneck
    from models.layers.modules import ElasticBottleneck


class Bottleneck(LayerKind):
    """The object of this kind; the module says what is computed."""

    name = "bottleneck"
    is_block = True

    def expansion_base(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        return spec.out_channels

    def macs(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        area_out, mid = self.out_size(spec) ** 2, spec.mid_channels
        return (
            spec.in_channels * mid * spec.in_size**2
            + spec.kernel**2 * mid * mid * area_out
            + mid * spec.out_channels * area_out
            + (0 if spec.skip else spec.in_channels * spec.out_channels * area_out)
        )

    def params(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        mid = spec.mid_channels
        return (
            (spec.in_channels + 2) * mid
            + (spec.kernel**2 * mid + 2) * mid
            + (mid + 2) * spec.out_channels
            + (0 if spec.skip else (spec.in_channels + 2) * spec.out_channels)
        )

    def live_values(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        area_in, area_out = spec.in_size**2, self.out_size(spec) ** 2
        enter, leave = spec.in_channels * area_in, spec.out_channels * area_out
        mid_in, mid_out = spec.mid_channels * area_in, spec.mid_channels * area_out
        pooled = 0 if spec.skip else spec.in_channels * area_out
        return max(
            enter + mid_in + mid_out,
            enter + mid_out + leave,
            enter + pooled + leave,
            0 if spec.skip else pooled + 2 * leave,
        )

    def work(self, spec: LayerSpec) -> Work:
        """See `LayerKind`."""
        area_in, area_out = spec.in_size**2, self.out_size(spec) ** 2
        enter, leave = spec.in_channels * area_in, spec.out_channels * area_out
        mid_in, mid_out = spec.mid_channels * area_in, spec.mid_channels * area_out
        spatial = spec.kernel**2 * spec.mid_channels * mid_out
        shortcut = 0 if spec.skip else spec.in_channels * area_out + leave
        return {
            "pointwise_macs": spec.macs - spatial,
            "dense_macs": spatial,
            "dense_values": enter + 2 * (mid_in + mid_out) + leave + shortcut,
            "weights": spec.params,
            "dense_layers": 3 + (not spec.skip),
            "blocks": 1,
        }

    def tensor_shapes(self, spec: LayerSpec) -> Shapes:
        """See `LayerKind`."""
        mid, out, k = spec.mid_channels, spec.out_channels, spec.kernel
        shapes = conv_norm_shapes("reduce", mid, spec.in_channels, 1, 1)
        shapes |= conv_norm_shapes("spatial", mid, mid, k, k)
        shapes |= conv_norm_shapes("project", out, mid, 1, 1)
        if not spec.skip:
            shapes |= conv_norm_shapes("shortcut", out, spec.in_channels, 1, 1)
        return shapes

    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """See `LayerKind`."""
        n = spec.name
        y = graph.conv(f"{n}.reduce", x, f"{n}.reduce_norm")
        y = graph.activation(spec.act, f"{n}.reduce", y)
        y = graph.conv(f"{n}.spatial", y, f"{n}.spatial_norm", stride=spec.stride)
        y = graph.activation(spec.act, f"{n}.spatial", y)
        y = graph.conv(f"{n}.project", y, f"{n}.project_norm")
        z = x
        if not spec.skip:
            if spec.stride > 1:
                window = {"kernel_shape": [spec.stride] * 2, "strides": [spec.stride] * 2}
                z = graph.node("AveragePool", f"{n}.shortcut_mean", z, **window, ceil_mode=1)
            z = graph.conv(f"{n}.shortcut", z, f"{n}.shortcut_norm")
        return graph.activation(spec.act, f"{n}.sum", graph.node("Add", f"{n}.skip", y, z))

    def published_names(
        self, spec: LayerSpec, module: PublishedModule
    ) -> Iterator[tuple[str, str]]:
        """See `LayerKind`."""
        yield from module.conv_norm("reduce", "conv1")
        yield from module.conv_norm("spatial", "conv2")
        yield from module.conv_norm("project", "conv3")
        if not spec.skip:
            yield from module.conv_norm("shortcut", "downsample")

    def elastic(
        self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float
    ) -> ElasticBottleneck:
        """See `LayerKind`."""
        from models.layers.modules import ElasticBottleneck

        return ElasticBottleneck(spec, bn_eps)

    def plain(self, spec: LayerSpec, bn_eps: float) -> PlainBottleneck:
        """See `LayerKind`."""
        from models.layers.modules import Bottleneck as PlainBottleneck

        return PlainBottleneck(spec, bn_eps)

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """See `LayerKind`."""
        from models.layers.modules import ACTIVATIONS, ResNetBottleneck

        options = {
            "kernel": spec.kernel,
            "stride": spec.stride,
            "act": ACTIVATIONS[spec.act],
            "skip": spec.skip,
            "eps": bn_eps,
        }
        shape = (spec.in_channels, spec.out_channels, spec.mid_channels)
        return TorchLayer(ResNetBottleneck, shape, options)

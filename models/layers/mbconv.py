"""Kind "mbconv", the inverted bottleneck (Sandler et al. 2018): 1x1 expansion (absent when the
middle has as many channels as the input), depthwise kxk, optional squeeze-and-excitation, 1x1
projection without activation, optional skip; batch norm after each convolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.layers.kind import (
    HSWISH_BYTES,
    SQUEEZE_BYTES,
    LayerKind,
    OnnxGraph,
    Shapes,
    TorchLayer,
    Work,
)
from models.layers.published import PublishedModule
from models.layers.spec import LayerSpec
from models.layers.tensors import conv_norm_shapes

if TYPE_CHECKING:
    from models.layers.modules import ElasticMBConv
    from models.layers.modules import MBConv as PlainMBConv


class MBConv(LayerKind):
    """The object of this kind; the module says what is computed."""

    name = "mbconv"
    is_block = True

    def macs(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        area_out, mid = self.out_size(spec) ** 2, spec.mid_channels
        return (
            (spec.in_channels * mid * spec.in_size**2 if spec.expands else 0)
            + spec.kernel**2 * mid * area_out
            + 2 * mid * spec.se_channels
            + mid * spec.out_channels * area_out
        )

    def params(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        mid, se = spec.mid_channels, spec.se_channels
        return (
            ((spec.in_channels + 2) * mid if spec.expands else 0)
            + (spec.kernel**2 + 2) * mid
            + (2 * mid * se + mid + se if se else 0)
            + (mid + 2) * spec.out_channels
        )

    def live_values(self, spec: LayerSpec) -> int:
        """See `LayerKind`."""
        area_in, area_out = spec.in_size**2, self.out_size(spec) ** 2
        enter, leave = spec.in_channels * area_in, spec.out_channels * area_out
        mid_in, mid_out = spec.mid_channels * area_in, spec.mid_channels * area_out
        shortcut = enter if spec.skip else 0
        if not spec.expands:
            return max(enter + mid_out, shortcut + mid_out + leave)
        return max(enter + mid_in, shortcut + mid_in + mid_out, shortcut + mid_out + leave)

    def int8_float_bytes(self, spec: LayerSpec) -> int:
        """See `LayerKind`: hard swishes and the scale of squeeze-and-excitation, while the input
        waits for the sum."""
        area_in, area_out = spec.in_size**2, self.out_size(spec) ** 2
        shortcut = spec.in_channels * area_in if spec.skip else 0
        swished = HSWISH_BYTES if spec.act == "hswish" else 0
        squeezed = SQUEEZE_BYTES if spec.se_channels else 0
        mid = max(swished * area_in * spec.expands, max(swished, squeezed) * area_out)
        return shortcut + spec.mid_channels * mid if mid else 0

    def work(self, spec: LayerSpec) -> Work:
        """See `LayerKind`."""
        area_in, area_out = spec.in_size**2, self.out_size(spec) ** 2
        mid_in, mid_out = spec.mid_channels * area_in, spec.mid_channels * area_out
        depthwise = spec.kernel**2 * mid_out
        expanded = spec.expands
        expand_macs = spec.in_channels * mid_in if expanded else 0
        expand_values = spec.in_channels * area_in + mid_in if expanded else 0
        return {
            "pointwise_macs": expand_macs + spec.out_channels * mid_out,
            "depthwise_k3_macs": depthwise * (spec.kernel <= 3),
            "depthwise_k5_macs": depthwise * (spec.kernel == 5),
            "depthwise_k7_macs": depthwise * (spec.kernel not in (1, 2, 3, 5)),
            "depthwise_strided_macs": depthwise * (spec.stride > 1),
            "dense_values": expand_values + mid_out + spec.out_channels * area_out,
            "depthwise_values": mid_in + mid_out,
            "weights": spec.params,
            "squeezes": spec.se_channels > 0,
            "squeezed_values": mid_out * (spec.se_channels > 0),
            "hswish_values": (mid_in * expanded + mid_out) * (spec.act == "hswish"),
            "dense_layers": 1 + expanded,
            "depthwise_layers": 1,
            "blocks": 1,
        }

    def tensor_shapes(self, spec: LayerSpec) -> Shapes:
        """See `LayerKind`."""
        mid, se = spec.mid_channels, spec.se_channels
        shapes = conv_norm_shapes("expand", mid, spec.in_channels, 1, 1) if spec.expands else {}
        shapes |= conv_norm_shapes("depthwise", mid, 1, spec.kernel, spec.kernel)
        if se:
            shapes["se_reduce.weight"] = (se, mid, 1, 1)
            shapes["se_reduce.bias"] = (se,)
            shapes["se_expand.weight"] = (mid, se, 1, 1)
            shapes["se_expand.bias"] = (mid,)
        return shapes | conv_norm_shapes("project", spec.out_channels, mid, 1, 1)

    def add_onnx(self, graph: OnnxGraph, spec: LayerSpec, x: str) -> str:
        """See `LayerKind`."""
        n, y = spec.name, x
        if spec.expands:
            y = graph.conv(f"{n}.expand", y, f"{n}.expand_norm")
            y = graph.activation(spec.act, f"{n}.expand", y)
        depthwise, groups = f"{n}.depthwise", spec.mid_channels
        y = graph.conv(depthwise, y, f"{n}.depthwise_norm", stride=spec.stride, groups=groups)
        y = graph.activation(spec.act, depthwise, y)
        if spec.se_channels:
            z = graph.node("GlobalAveragePool", f"{n}.se_mean", y)
            z = graph.conv(f"{n}.se_reduce", z)
            z = graph.node("Relu", f"{n}.se_reduce.relu", z)
            z = graph.conv(f"{n}.se_expand", z)
            z = graph.node("HardSigmoid", f"{n}.se_gate", z, alpha=1 / 6, beta=0.5)
            y = graph.node("Mul", f"{n}.se_scale", y, z)
        y = graph.conv(f"{n}.project", y, f"{n}.project_norm")
        return graph.node("Add", f"{n}.skip", y, x) if spec.skip else y

    def published_names(
        self, spec: LayerSpec, module: PublishedModule
    ) -> Iterator[tuple[str, str]]:
        """See `LayerKind`."""
        depthwise = f"{module.path}.depth_conv"
        if spec.expands:
            yield from module.conv_norm("expand", "inverted_bottleneck")
        for small, large in zip(module.kernels, module.kernels[1:], strict=False):
            matrix = f"{large}to{small}_matrix"
            yield f"depthwise.{matrix}", f"{depthwise}.conv.{matrix}"
        yield from module.conv_norm("depthwise", "depth_conv")
        if spec.se_channels:
            for ours in ("reduce", "expand"):
                for part in ("weight", "bias"):
                    yield f"se_{ours}.{part}", f"{depthwise}.se.fc.{ours}.{part}"
        yield from module.conv_norm("project", "point_linear")

    def elastic(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> ElasticMBConv:
        """See `LayerKind`."""
        from models.layers.modules import ElasticMBConv

        return ElasticMBConv(spec, kernels, bn_eps)

    def plain(self, spec: LayerSpec, bn_eps: float) -> PlainMBConv:
        """See `LayerKind`."""
        from models.layers.modules import MBConv as PlainMBConv

        return PlainMBConv(spec, bn_eps)

    def standalone(self, spec: LayerSpec, bn_eps: float) -> TorchLayer:
        """See `LayerKind`."""
        from models.layers.modules import ACTIVATIONS, InvertedBottleneck

        options = {
            "kernel": spec.kernel,
            "stride": spec.stride,
            "act": ACTIVATIONS[spec.act],
            "se": spec.se_channels,
            "skip": spec.skip,
            "eps": bn_eps,
        }
        shape = (spec.in_channels, spec.out_channels, spec.mid_channels)
        return TorchLayer(InvertedBottleneck, shape, options)

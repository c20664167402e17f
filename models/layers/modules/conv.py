"""Convolution layers, elastic and of one shape."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.modules.elastic import ElasticBatchNorm, ElasticLayer, activate, first
from models.layers.spec import LayerSpec


class ElasticConvLayer(ElasticLayer):
    """Convolution, optional batch norm, activation, optional skip; elastic in both widths."""

    def __init__(self, spec: LayerSpec, bn_eps: float) -> None:
        super().__init__()
        self.conv = _conv2d(spec)
        self.norm = ElasticBatchNorm(spec.out_channels, bn_eps) if spec.norm else nn.Identity()

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        weight = self.conv.weight[: spec.out_channels, : spec.in_channels]
        y = F.conv2d(x_BCHW, weight, stride=spec.stride, padding=spec.kernel // 2)
        y = activate(self.norm(y), spec.act)
        return x_BCHW + y if spec.skip else y

    def counts(self, spec: LayerSpec | None) -> tuple[int, ...] | None:
        """Output channels; 0 without the layer."""
        return (spec.out_channels if spec else 0,)

    def masked(self, x_BCHW: Tensor, spec: LayerSpec, counts: Tensor) -> Tensor:
        """See `ElasticLayer`."""
        here = first(counts[0], spec.out_channels)
        y = F.conv2d(x_BCHW, self.conv.weight, stride=spec.stride, padding=spec.kernel // 2)
        y = self.norm.masked(y, here) if isinstance(self.norm, ElasticBatchNorm) else y
        y = activate(y, spec.act) * here
        return x_BCHW + y if spec.skip else y


class ConvLayer(nn.Module):
    """Convolution, optional batch norm, activation, optional skip."""

    def __init__(self, spec: LayerSpec, bn_eps: float) -> None:
        super().__init__()
        self.conv = _conv2d(spec)
        self.norm = nn.BatchNorm2d(spec.out_channels, bn_eps) if spec.norm else nn.Identity()
        self.act, self.skip = spec.act, spec.skip

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = activate(self.norm(self.conv(x_BCHW)), self.act)
        return x_BCHW + y if self.skip else y


def _conv2d(spec: LayerSpec) -> nn.Conv2d:
    padding = spec.kernel // 2
    return nn.Conv2d(
        spec.in_channels, spec.out_channels, spec.kernel, spec.stride, padding, bias=False
    )

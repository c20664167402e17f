"""The ResNet-D bottleneck, elastic and of one shape (He et al. 2019, "Bag of Tricks"; OFA).

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.modules.elastic import ElasticBatchNorm, ElasticLayer, activate, first
from models.layers.spec import LayerSpec


class _Norm(Protocol):
    def __call__(self, channels: int, eps: float, /) -> nn.Module: ...


class Bottleneck(nn.Module):
    """Weights of one block, used whole or, by `ElasticBottleneck`, in part."""

    norm: _Norm = nn.BatchNorm2d

    def __init__(self, spec: LayerSpec, bn_eps: float) -> None:
        super().__init__()
        mid, out, kernel = spec.mid_channels, spec.out_channels, spec.kernel
        self.spec = spec
        self.reduce = nn.Conv2d(spec.in_channels, mid, 1, bias=False)
        self.reduce_norm = self.norm(mid, bn_eps)
        self.spatial = nn.Conv2d(mid, mid, kernel, spec.stride, kernel // 2, bias=False)
        self.spatial_norm = self.norm(mid, bn_eps)
        self.project = nn.Conv2d(mid, out, 1, bias=False)
        self.project_norm = self.norm(out, bn_eps)
        if not spec.skip:
            self.shortcut = nn.Conv2d(spec.in_channels, out, 1, bias=False)
            self.shortcut_norm = self.norm(out, bn_eps)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.run(x_BCHW, self.spec)

    def run(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        """The block in the shape of `spec`: the first of its channels."""
        mid, out, inner = spec.mid_channels, spec.out_channels, spec.in_channels
        y = F.conv2d(x_BCHW, self.reduce.weight[:mid, :inner])
        y = activate(self.reduce_norm(y), spec.act)
        weight = self.spatial.weight[:mid, :mid]
        y = F.conv2d(y, weight, stride=spec.stride, padding=spec.kernel // 2)
        y = activate(self.spatial_norm(y), spec.act)
        y = self.project_norm(F.conv2d(y, self.project.weight[:out, :mid]))
        if spec.skip:
            return activate(y + x_BCHW, spec.act)
        z = F.avg_pool2d(x_BCHW, spec.stride, ceil_mode=True) if spec.stride > 1 else x_BCHW
        z = self.shortcut_norm(F.conv2d(z, self.shortcut.weight[:out, :inner]))
        return activate(y + z, spec.act)


class ElasticBottleneck(ElasticLayer, Bottleneck):
    """A block built for its largest shape."""

    norm: _Norm = ElasticBatchNorm

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:  # type: ignore[override]
        return self.run(x_BCHW, spec)

    def counts(self, spec: LayerSpec | None) -> tuple[int, ...] | None:
        """Middle and output channels; 0 without the layer."""
        return (spec.mid_channels, spec.out_channels) if spec else (0, 0)

    def masked(self, x_BCHW: Tensor, spec: LayerSpec, counts: Tensor) -> Tensor:
        """See `ElasticLayer`."""
        mid, out = first(counts[0], spec.mid_channels), first(counts[1], spec.out_channels)
        y = F.conv2d(x_BCHW, self.reduce.weight)
        y = activate(_masked(self.reduce_norm, y, mid), spec.act) * mid
        y = F.conv2d(y, self.spatial.weight, stride=spec.stride, padding=spec.kernel // 2)
        y = activate(_masked(self.spatial_norm, y, mid), spec.act) * mid
        y = _masked(self.project_norm, F.conv2d(y, self.project.weight), out) * out
        if spec.skip:
            return torch.where(counts[1] > 0, activate(y + x_BCHW, spec.act), x_BCHW)
        z = F.avg_pool2d(x_BCHW, spec.stride, ceil_mode=True) if spec.stride > 1 else x_BCHW
        z = _masked(self.shortcut_norm, F.conv2d(z, self.shortcut.weight), out) * out
        return activate(y + z, spec.act)


def _masked(norm: nn.Module, x_BCHW: Tensor, here_1C11: Tensor) -> Tensor:
    assert isinstance(norm, ElasticBatchNorm)
    return norm.masked(x_BCHW, here_1C11)

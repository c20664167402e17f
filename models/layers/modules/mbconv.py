"""The inverted bottleneck, elastic and of one shape (Sandler et al. 2018; OFA).

Shapes: B batch, C channels, H height, W width, M middle channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.modules.depthwise import depthwise_conv
from models.layers.modules.elastic import (
    ElasticBatchNorm,
    ElasticDepthwise,
    ElasticLayer,
    activate,
    first,
)
from models.layers.spec import LayerSpec


class ElasticMBConv(ElasticLayer):
    """Inverted bottleneck with elastic kernel and expansion (Sandler et al. 2018; OFA).

    Built for the largest choice; `forward` uses the first `spec.mid_channels` channels.
    """

    def __init__(self, spec: LayerSpec, kernels: tuple[int, ...], bn_eps: float) -> None:
        super().__init__()
        mid, se = spec.mid_channels, spec.se_channels
        if spec.expands:
            self.expand = nn.Conv2d(spec.in_channels, mid, 1, bias=False)
            self.expand_norm = ElasticBatchNorm(mid, bn_eps)
        self.depthwise = ElasticDepthwise(mid, kernels)
        self.depthwise_norm = ElasticBatchNorm(mid, bn_eps)
        if se:
            self.se_reduce = nn.Conv2d(mid, se, 1)
            self.se_expand = nn.Conv2d(se, mid, 1)
        self.project = nn.Conv2d(mid, spec.out_channels, 1, bias=False)
        self.project_norm = ElasticBatchNorm(spec.out_channels, bn_eps)

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        y = x_BCHW
        mid, se = spec.mid_channels, spec.se_channels
        if spec.expands:
            y = F.conv2d(y, self.expand.weight[:mid])
            y = activate(self.expand_norm(y), spec.act)
        y = depthwise_conv(y, self.depthwise.filters(mid, spec.kernel), spec.stride)
        y = activate(self.depthwise_norm(y), spec.act)
        if se:
            y = y * self._gate(y, mid, se)
        y = F.conv2d(y, self.project.weight[:, :mid])
        out: Tensor = self.project_norm(y)
        return x_BCHW + out if spec.skip else out

    def counts(self, spec: LayerSpec | None) -> tuple[int, ...] | None:
        """Middle channels, squeezed ones, number of the kernel size, output channels."""
        if spec is None:
            return (0, 0, 0, 0)
        if spec.expands != hasattr(self, "expand"):
            return None  # without the expansion, the middle channels are the input's
        kernel = self.depthwise.kernels.index(spec.kernel)
        return (spec.mid_channels, spec.se_channels, kernel, spec.out_channels)

    def masked(self, x_BCHW: Tensor, spec: LayerSpec, counts: Tensor) -> Tensor:
        """See `ElasticLayer`."""
        mid, out = first(counts[0], spec.mid_channels), first(counts[3], spec.out_channels)
        y = x_BCHW
        if spec.expands:
            y = self.expand_norm.masked(F.conv2d(y, self.expand.weight), mid)
            y = activate(y, spec.act) * mid
        y = depthwise_conv(y, self.depthwise.masked_filters(counts[2]), spec.stride)
        y = activate(self.depthwise_norm.masked(y, mid), spec.act) * mid
        if spec.se_channels:
            z = self.se_reduce(y.mean((2, 3), keepdim=True))
            z = F.relu(z) * first(counts[1], spec.se_channels)
            y = y * F.hardsigmoid(self.se_expand(z))
        y = self.project_norm.masked(F.conv2d(y, self.project.weight), out) * out
        return x_BCHW + y if spec.skip else y

    def unused(self, spec: LayerSpec) -> tuple[str, ...]:
        """Transformations to kernel sizes below the subnet's."""
        return tuple(f"depthwise.{name}" for name in self.depthwise.unused(spec.kernel))

    def transformed(self, spec: LayerSpec) -> dict[str, Tensor]:
        """The depthwise filters of smaller kernels are learnt transformations."""
        return {"depthwise.weight": self.depthwise.filters(spec.mid_channels, spec.kernel)}

    @torch.no_grad()
    def sort_channels(self, spec: LayerSpec, trained_widths: Sequence[int]) -> None:
        """See `ElasticLayer`. Importance is the L1 norm of a channel's column in the projection;
        a kernel's filters move with their channels, so the block's output stays the same."""
        if not spec.expands:
            return
        importance = self.project.weight.abs().sum((0, 2, 3))
        order = torch.argsort(importance, descending=True, stable=True)
        # A band that comes earlier stays earlier, whatever its importance.
        bounds = torch.tensor(sorted(trained_widths), device=order.device)
        order = order[torch.argsort(torch.bucketize(order, bounds, right=True), stable=True)]
        _permute(self.project.weight, order, dim=1)
        _permute(self.depthwise.weight, order)
        _permute(self.expand.weight, order)
        for norm in (self.expand_norm, self.depthwise_norm):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                _permute(tensor, order)
        if spec.se_channels:
            self._sort_squeezed(order)

    def _sort_squeezed(self, order: Tensor) -> None:
        """Move squeeze-and-excitation's channels along, and sort the squeezed ones, which are
        elastic too, by their own weights."""
        reduce, expand = self.se_reduce, self.se_expand
        _permute(expand.weight, order)
        _permute(_bias(expand), order)
        _permute(reduce.weight, order, dim=1)
        squeezed = torch.argsort(expand.weight.abs().sum((0, 2, 3)), descending=True, stable=True)
        _permute(expand.weight, squeezed, dim=1)
        _permute(reduce.weight, squeezed)
        _permute(_bias(reduce), squeezed)

    def _gate(self, y_BMHW: Tensor, mid: int, se: int) -> Tensor:
        reduce, expand = self.se_reduce, self.se_expand
        z = y_BMHW.mean((2, 3), keepdim=True)
        z = F.relu(F.conv2d(z, reduce.weight[:se, :mid], _bias(reduce)[:se]))
        return F.hardsigmoid(F.conv2d(z, expand.weight[:mid, :se], _bias(expand)[:mid]))


def _permute(tensor: Tensor, order: Tensor, dim: int = 0) -> None:
    tensor.copy_(tensor.index_select(dim, order))


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # squeeze-and-excitation is built with biases
    return conv.bias


class Depthwise(nn.Conv2d):
    """A depthwise convolution without bias, padding k // 2."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        padding = kernel // 2
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight, self.stride[0])


class MBConv(nn.Module):
    """Inverted bottleneck of one shape."""

    def __init__(self, spec: LayerSpec, bn_eps: float) -> None:
        super().__init__()
        mid, se = spec.mid_channels, spec.se_channels
        self.spec = spec
        if spec.expands:
            self.expand = nn.Conv2d(spec.in_channels, mid, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(mid, bn_eps)
        self.depthwise = Depthwise(mid, spec.kernel, spec.stride)
        self.depthwise_norm = nn.BatchNorm2d(mid, bn_eps)
        if se:
            self.se_reduce = nn.Conv2d(mid, se, 1)
            self.se_expand = nn.Conv2d(se, mid, 1)
        self.project = nn.Conv2d(mid, spec.out_channels, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(spec.out_channels, bn_eps)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        spec, y = self.spec, x_BCHW
        if spec.expands:
            y = activate(self.expand_norm(self.expand(y)), spec.act)
        y = activate(self.depthwise_norm(self.depthwise(y)), spec.act)
        if spec.se_channels:
            z = F.relu(self.se_reduce(y.mean((2, 3), keepdim=True)))
            y = y * F.hardsigmoid(self.se_expand(z))
        out: Tensor = self.project_norm(self.project(y))
        return x_BCHW + out if spec.skip else out

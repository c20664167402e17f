"""Elastic layers: one set of weights, the layer's shape given with each call.

Shapes: B batch, C channels, H height, W width, K kernel, O out, I in, M middle channels.
Pure slice functions come first, thin modules after. No module remembers a shape: the
`LayerSpec` in force is an argument (OFA, ICLR 2020, section 3.3).
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.modules.depthwise import depthwise_conv
from models.spaces import Activation, LayerSpec

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def activate(x: Tensor, act: Activation | None) -> Tensor:
    """Apply the activation named by a layer (None is the identity)."""
    match act:
        case "relu":
            return F.relu(x, inplace=True)  # of a fresh tensor, always
        case "relu6":
            return F.relu6(x)
        case "hswish":
            return F.hardswish(x)
        case None:
            return x


def channels_last(model: ModuleT) -> ModuleT:
    """`model` with its filters in the memory layout that torch's CPU kernels are fast in."""
    for tensor in (*model.parameters(), *model.buffers()):
        # Most filters lie alike in both layouts, and then stay where they are.
        if tensor.ndim == 4 and not tensor.is_contiguous(memory_format=torch.channels_last):
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model


def centre(weight_C1KK: Tensor, kernel: int) -> Tensor:
    """The central `kernel` x `kernel` of each depthwise filter."""
    margin = (weight_C1KK.shape[-1] - kernel) // 2
    return weight_C1KK[..., margin : margin + kernel, margin : margin + kernel]


class ElasticBatchNorm(nn.Module):
    """Batch norm over the first channels; running statistics are of those channels only."""

    def __init__(self, channels: int, eps: float, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum = eps, momentum

    def forward(self, x_BCHW: Tensor) -> Tensor:
        c = x_BCHW.shape[1]
        return F.batch_norm(
            x_BCHW,
            self.running_mean[:c],
            self.running_var[:c],
            self.weight[:c],
            self.bias[:c],
            self.training,
            self.momentum,
            self.eps,
        )


class ElasticDepthwise(nn.Module):
    """Depthwise filters of the largest size, smaller ones by learnt transformations.

    A k5 filter is the centre of the k7 one times `7to5_matrix`; a k3 filter the centre of that
    k5 one times `5to3_matrix`. The matrices start as identities and are shared by all channels.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.kernels = kernels
        for large, small in zip(kernels[:0:-1], kernels[-2::-1], strict=True):
            self.register_parameter(f"{large}to{small}_matrix", nn.Parameter(torch.eye(small**2)))
        self.weight = nn.Parameter(torch.empty(channels, 1, kernels[-1], kernels[-1]))

    def filters(self, channels: int, kernel: int) -> Tensor:
        """The (channels, 1, kernel, kernel) filters of one choice."""
        weight = self.weight[:channels]
        for large, small in zip(self.kernels[:0:-1], self.kernels[-2::-1], strict=True):
            if large <= kernel:
                break
            matrix = self.get_parameter(f"{large}to{small}_matrix")
            flat = centre(weight, small).reshape(channels, small**2)
            weight = F.linear(flat, matrix).reshape(channels, 1, small, small)
        return weight


class ElasticConvLayer(nn.Module):
    """Convolution, optional batch norm, activation, optional skip; elastic in both widths."""

    def __init__(self, spec: LayerSpec, bn_eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            spec.in_channels,
            spec.out_channels,
            spec.kernel,
            spec.stride,
            spec.kernel // 2,
            bias=False,
        )
        self.norm = ElasticBatchNorm(spec.out_channels, bn_eps) if spec.norm else nn.Identity()

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        weight = self.conv.weight[: spec.out_channels, : spec.in_channels]
        y = F.conv2d(x_BCHW, weight, stride=spec.stride, padding=spec.kernel // 2)
        y = activate(self.norm(y), spec.act)
        return x_BCHW + y if spec.skip else y


class ElasticLinear(nn.Linear):
    """Fully connected layer that reads the first features."""

    def forward(self, x_BC: Tensor) -> Tensor:
        return F.linear(x_BC, self.weight[:, : x_BC.shape[1]], self.bias)


class ElasticMBConv(nn.Module):
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

    def _gate(self, y_BMHW: Tensor, mid: int, se: int) -> Tensor:
        reduce, expand = self.se_reduce, self.se_expand
        z = y_BMHW.mean((2, 3), keepdim=True)
        z = F.relu(F.conv2d(z, reduce.weight[:se, :mid], _bias(reduce)[:se]))
        return F.hardsigmoid(F.conv2d(z, expand.weight[:mid, :se], _bias(expand)[:mid]))


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # squeeze-and-excitation is built with biases
    return conv.bias

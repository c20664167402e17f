"""What elastic layers share: one set of weights, and the shape is an argument of each call.

Shapes: B batch, C channels, H height, W width, K kernel.
No module remembers an active shape: each call takes the `LayerSpec` of the subnet at hand
(OFA, ICLR 2020, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.spec import Activation, LayerSpec

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def activate(x: Tensor, act: Activation | None) -> Tensor:
    """Apply the activation named by a layer (None is the identity)."""
    match act:
        case "relu":
            return F.relu(x, inplace=True)  # callers pass a tensor that nothing else uses
        case "relu6":
            return F.relu6(x)
        case "hswish":
            return F.hardswish(x)
        case None:
            return x


def channels_last(model: ModuleT) -> ModuleT:
    """`model` with its filters in the memory layout for which torch's CPU kernels are fastest."""
    for tensor in (*model.parameters(), *model.buffers()):
        # Most filters have one order in both layouts and are not copied.
        if tensor.ndim == 4 and not tensor.is_contiguous(memory_format=torch.channels_last):
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model


def centre(weight_C1KK: Tensor, kernel: int) -> Tensor:
    """The central `kernel` x `kernel` of each depthwise filter."""
    margin = (weight_C1KK.shape[-1] - kernel) // 2
    return weight_C1KK[..., margin : margin + kernel, margin : margin + kernel]


class ElasticLayer(nn.Module):
    """A layer of the supernet, built for its largest shape."""

    def forward(self, x: Tensor, spec: LayerSpec) -> Tensor:
        """The layer in the shape of `spec`."""
        raise NotImplementedError

    def transformed(self, spec: LayerSpec) -> dict[str, Tensor]:
        """The tensors of an extracted layer that are not slices of this one's, by name."""
        return {}

    def sort_channels(self, spec: LayerSpec, trained_widths: Sequence[int]) -> None:
        """Put the important middle channels first, in place; by default nothing.

        Args:
            spec: the largest shape.
            trained_widths: numbers of middle channels that smaller networks were already trained
                with. Channels move only inside the bands between them.
        """


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

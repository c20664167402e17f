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


def first(count: Tensor, size: int) -> Tensor:
    """(1, size, 1, 1) bool, true for the first `count` channels; the count stays on its device."""
    return (torch.arange(size, device=count.device) < count).view(1, size, 1, 1)


def centre(weight_C1KK: Tensor, kernel: int) -> Tensor:
    """The central `kernel` x `kernel` of each depthwise filter."""
    margin = (weight_C1KK.shape[-1] - kernel) // 2
    return weight_C1KK[..., margin : margin + kernel, margin : margin + kernel]


class ElasticLayer(nn.Module):
    """A layer of the supernet, built for its largest shape."""

    def forward(self, x: Tensor, spec: LayerSpec) -> Tensor:
        """The layer in the shape of `spec`."""
        raise NotImplementedError

    # -- the same with shapes that do not depend on the subnet ------------------------------

    def counts(self, spec: LayerSpec | None) -> tuple[int, ...] | None:
        """What tells a subnet's layer apart, as numbers for `masked`; None if `masked` does not
        have this layer. By default a layer is the same in every subnet.

        Args:
            spec: the subnet's layer; None where the subnet lacks it.
        """
        return () if spec else None

    def masked(self, x: Tensor, spec: LayerSpec, counts: Tensor) -> Tensor:
        """The layer of a subnet, computed at full width: what the subnet lacks is zero.

        Args:
            x: as in `forward`, with zeros in the channels that the subnet lacks.
            spec: the largest shape.
            counts: the subnet's `counts`, on the device of `x`.
        """
        y: Tensor = self(x, spec)
        return y

    def unused(self, spec: LayerSpec) -> tuple[str, ...]:
        """Names of the parameters that the subnet's layer does not use at all."""
        return ()

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

    def masked(self, x_BCHW: Tensor, here_1C11: Tensor) -> Tensor:
        """The norm at full width; running statistics are of the channels that are here."""
        mean, var = self.running_mean.clone(), self.running_var.clone()
        y = F.batch_norm(
            x_BCHW, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        if self.training:
            here_C = here_1C11.flatten()
            self.running_mean.copy_(torch.where(here_C, mean, self.running_mean))
            self.running_var.copy_(torch.where(here_C, var, self.running_var))
        return y


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

    def masked_filters(self, choice: Tensor) -> Tensor:
        """The filters of the kernel size number `choice`, with zeros around them."""
        channels, largest = len(self.weight), self.kernels[-1]
        chosen = torch.zeros_like(self.weight)
        for index, kernel in enumerate(self.kernels):
            margin = (largest - kernel) // 2
            filters = F.pad(self.filters(channels, kernel), [margin] * 4)
            chosen = torch.where(choice == index, filters, chosen)
        return chosen

    def unused(self, kernel: int) -> tuple[str, ...]:
        """Names of the transformations that a kernel size does without."""
        return tuple(
            f"{large}to{small}_matrix"
            for large, small in zip(self.kernels[:0:-1], self.kernels[-2::-1], strict=True)
            if large <= kernel
        )

"""Layers of one shape that need only torch, for folders that are used without this project.

The source of a class is copied into such a folder (`models.torch_folder.source`), so a class uses
no other names than `torch`, `nn`, `F` and `Tensor`. Their tensors are named as those of the plain
modules beside this file, which compute the same.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.spec import Activation

ACTIVATIONS: Mapping[Activation | None, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hswish": nn.Hardswish,
    None: nn.Identity,
}
"""By the name that a layer gives it."""
MAX_POOL = nn.MaxPool2d


class ConvNormAct(nn.Module):
    """Convolution, batch norm (unless `norm` is false), activation, and the input if `skip`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        act: type[nn.Module] = nn.Identity,
        norm: bool = True,
        skip: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps) if norm else nn.Identity()
        self.act, self.skip = act(), skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return x + y if self.skip else y


class InvertedBottleneck(nn.Module):
    """1x1 expansion to `middle` channels (none where there are as many), depthwise kxk,
    squeeze-and-excitation through `se` channels if any, 1x1 projection."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        middle: int,
        kernel: int = 3,
        stride: int = 1,
        act: type[nn.Module] = nn.ReLU,
        se: int = 0,
        skip: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if middle != inputs:
            self.expand = nn.Conv2d(inputs, middle, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(middle, eps)
        self.depthwise = nn.Conv2d(
            middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(middle, eps)
        if se:
            self.se_reduce = nn.Conv2d(middle, se, 1)
            self.se_expand = nn.Conv2d(se, middle, 1)
        self.project = nn.Conv2d(middle, outputs, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(outputs, eps)
        self.act, self.expands, self.squeezes, self.skip = act(), middle != inputs, se > 0, skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.expand_norm(self.expand(x))) if self.expands else x
        y = self.act(self.depthwise_norm(self.depthwise(y)))
        if self.squeezes:
            gate = F.relu(self.se_reduce(y.mean((2, 3), keepdim=True)))
            y = y * F.hardsigmoid(self.se_expand(gate))
        out: Tensor = self.project_norm(self.project(y))
        return x + out if self.skip else out


class ResNetBottleneck(nn.Module):
    """1x1 to `middle` channels, kxk, 1x1; the activation follows the sum with the shortcut, which
    is the input where `skip`, else its mean over the stride and a 1x1 convolution (ResNet-D)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        middle: int,
        kernel: int = 3,
        stride: int = 1,
        act: type[nn.Module] = nn.ReLU,
        skip: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, middle, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(middle, eps)
        self.spatial = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, bias=False)
        self.spatial_norm = nn.BatchNorm2d(middle, eps)
        self.project = nn.Conv2d(middle, outputs, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(outputs, eps)
        if not skip:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(outputs, eps)
        self.act, self.stride, self.skip = act(), stride, skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.reduce_norm(self.reduce(x)))
        y = self.act(self.spatial_norm(self.spatial(y)))
        y = self.project_norm(self.project(y))
        if not self.skip:
            x = F.avg_pool2d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
            x = self.shortcut_norm(self.shortcut(x))
        out: Tensor = self.act(y + x)
        return out


class MeanPool(nn.Module):
    """Mean over height and width, (B, C, H, W) -> (B, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class FlatLinear(nn.Linear):
    """Fully connected layer on the flattened features, (B, C, H, W) -> (B, outputs)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class ChannelsLast(nn.Module):
    """Fix the memory layout, which images of one channel leave open."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)

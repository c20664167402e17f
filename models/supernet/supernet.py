"""The supernet, `supernet(x_BCHW, arch)`: it holds weights, and the subnet is an argument."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from models.errors import InputError
from models.layers import LayerSpec, kind_of
from models.layers.modules import ElasticLayer
from models.spaces import Arch, SearchSpace, layer_plan


class Supernet(nn.Module):
    """All networks of a space in one set of weights.

    Layers are named as in the plan of the largest architecture; a smaller architecture uses a
    subset of the names, and of each layer the first channels and the inner kernel.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.layers = nn.ModuleDict(
            {
                spec.name: kind_of(spec).elastic(spec, space.kernels_of(spec), space.bn_eps)
                for spec in layer_plan(space, space.largest)
            }
        )

    def forward(self, x_BCHW: Tensor, arch: Arch) -> Tensor:
        """Logits (B, classes) of the subnet `arch` for images at its resolution.

        Raises:
            InputError: if `arch` is not in the space or the images have another size.
        """
        space, size = self.space, arch.resolution
        if x_BCHW.shape[1:] != (space.channels, size, size):
            raise InputError(
                f"images: expected (batch, {space.channels}, {size}, {size}) for this "
                f"architecture, got {tuple(x_BCHW.shape)}"
            )
        y = x_BCHW
        for spec in layer_plan(space, arch):
            y = self.apply_layer(y, spec)
        return y

    def layer(self, name: str) -> ElasticLayer:
        """The module of one layer of the largest network."""
        return cast("ElasticLayer", self.layers[name])

    def apply_layer(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        """One layer of a plan on its input."""
        return _laid_out(self.layers[spec.name](x_BCHW, spec), spec)

    def apply_masked(self, x_BCHW: Tensor, spec: LayerSpec, counts: Tensor) -> Tensor:
        """The same by `ElasticLayer.masked`; `spec` is of the largest network."""
        return _laid_out(self.layer(spec.name).masked(x_BCHW, spec, counts), spec)


def _laid_out(y: Tensor, spec: LayerSpec) -> Tensor:
    # Images of one channel leave the memory layout open, and the slow one would spread.
    return y.contiguous(memory_format=torch.channels_last) if spec.name == "stem" else y


def initialize(model: nn.Module, seed: int) -> None:
    """Fill every weight of a supernet or subnet from one seed: He normal (fan out) for
    convolutions, N(0, 0.01) for the classifier, identities for kernel transformations, 1 and 0
    for norms.

    Source: He et al. 2015; a supernet's fan is that of its largest subnet, as in OFA.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 4:
                groups = weight.shape[0] if "depthwise" in name else 1
                fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3] // groups
                weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)
            elif name.endswith("_matrix"):
                weight.copy_(torch.eye(weight.shape[0]))
            elif weight.ndim == 2:
                weight.normal_(0, 0.01, generator=generator)
            else:
                weight.fill_(1.0 if "norm.weight" in name else 0.0)

"""Pooling, which has no weights: elastic modules take the shape with each call."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.modules.elastic import ElasticLayer
from models.layers.spec import LayerSpec


class ElasticPool(ElasticLayer):
    """Mean over height and width, both axes kept."""

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        return x_BCHW.mean((2, 3), keepdim=True)


class ElasticMaxPool(ElasticLayer):
    """Maximum over a kxk window."""

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        return F.max_pool2d(x_BCHW, spec.kernel, spec.stride, spec.kernel // 2)


class MaxPool(nn.MaxPool2d):
    """Maximum over the window of one layer."""

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec.kernel, spec.stride, spec.kernel // 2)


class Pool(nn.Module):
    """Mean over height and width, both axes kept."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.mean((2, 3), keepdim=True)

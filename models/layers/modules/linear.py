"""The fully connected layer, elastic and of one shape."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.modules.elastic import ElasticLayer
from models.layers.spec import LayerSpec


class ElasticLinear(ElasticLayer, nn.Linear):
    """Fully connected layer that reads the first features."""

    def forward(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:  # type: ignore[override]
        return F.linear(x_BCHW.flatten(1), self.weight[:, : spec.in_channels], self.bias)


class Classifier(nn.Linear):
    """Fully connected layer on the flattened features."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW.flatten(1))

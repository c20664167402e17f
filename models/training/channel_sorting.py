"""Channel sorting between phases of progressive shrinking (OFA, section 3.4).

The expansion takes the first channels of a block, so the important ones must come first.
Importance of a middle channel is the L1 norm of its column in the projection.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.layers.modules import ElasticMBConv
from models.spaces import LayerSpec, layer_plan, make_divisible
from models.supernet import Supernet


@torch.no_grad()
def sort_channels(supernet: Supernet, fixed_expands: tuple[int, ...] = ()) -> None:
    """Reorder the middle channels of every elastic block by importance, in place.

    The largest network computes the same function before and after; a kernel's filters move
    with their channels.

    Args:
        fixed_expands: expansions that smaller networks were already trained with. Channels are
            then sorted only inside the bands between them, so those networks keep theirs.
    """
    for spec in layer_plan(supernet.space, supernet.space.largest):
        if spec.kind != "mbconv" or not spec.expands:
            continue
        layer = supernet.layers[spec.name]
        assert isinstance(layer, ElasticMBConv)
        importance = layer.project.weight.abs().sum((0, 2, 3))
        # A band that comes earlier must stay earlier, whatever its importance.
        for expand in sorted(fixed_expands, reverse=True):
            width = make_divisible(round(spec.in_channels * expand))
            importance[:width] += 1e5
        _reorder(layer, spec, torch.argsort(importance, descending=True, stable=True))


def _reorder(layer: ElasticMBConv, spec: LayerSpec, order: Tensor) -> None:
    def rows(tensor: Tensor) -> None:
        tensor.copy_(tensor[order].clone())

    layer.project.weight.copy_(layer.project.weight[:, order].clone())
    rows(layer.depthwise.weight)
    rows(layer.expand.weight)
    for norm in (layer.expand_norm, layer.depthwise_norm):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            rows(tensor)
    if not spec.se_channels:
        return
    reduce, expand = layer.se_reduce, layer.se_expand
    assert reduce.bias is not None
    assert expand.bias is not None
    rows(expand.weight)
    rows(expand.bias)
    reduce.weight.copy_(reduce.weight[:, order].clone())
    # The squeezed channels are elastic too: their order is by their own weights.
    squeezed = torch.argsort(expand.weight.abs().sum((0, 2, 3)), descending=True, stable=True)
    expand.weight.copy_(expand.weight[:, squeezed].clone())
    reduce.weight.copy_(reduce.weight[squeezed].clone())
    reduce.bias.copy_(reduce.bias[squeezed].clone())

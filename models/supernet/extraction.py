"""From the supernet to an ordinary module: copied slices, then batch-norm recalibration."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from copy import deepcopy
from queue import Empty, SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import InputError
from models.layers import LayerSpec, kind_of
from models.layers.modules import ChannelsLast, channels_last
from models.machine import in_order
from models.spaces import Arch, layer_plan
from models.supernet.supernet import Supernet

STEM, LAYOUT = "stem", "layout"
"""The layer after which the memory layout is fixed, and the name of the module that fixes it."""


class Subnet(nn.Sequential):
    """One network as ordinary modules, (B, channels, r, r) -> (B, classes)."""

    def outputs_of(self, x_BCHW: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """The outputs of some layers, by their names."""
        found = {}
        for name, layer in self.named_children():
            x_BCHW = layer(x_BCHW)
            if name in layers:
                found[name] = x_BCHW
        return found


def plain(plan: Sequence[LayerSpec], bn_eps: float) -> Subnet:
    """An untrained network of the layers of `plan`, named as in the plan."""
    subnet = Subnet()
    for spec in plan:
        subnet.add_module(spec.name, kind_of(spec).plain(spec, bn_eps))
        if spec.name == STEM:
            subnet.add_module(LAYOUT, ChannelsLast())
    return subnet


@torch.no_grad()
def extract(supernet: Supernet, arch: Arch) -> Subnet:
    """The subnet `arch` as an ordinary module in eval mode, with copies of its weights.

    Its outputs equal `supernet.eval()(x, arch)` bit for bit. Batch-norm statistics are those of the
    supernet: call `recalibrate` before measuring accuracy.

    Raises:
        InputError: if `arch` is not in the supernet's space.
    """
    plan = layer_plan(supernet.space, arch)
    subnet = plain(plan, supernet.space.bn_eps)
    source = supernet.state_dict()
    transformed = _transformed(supernet, plan)
    for name, target in subnet.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        value = transformed.get(name)
        if value is None:
            whole = source[f"layers.{name}"]
            value = whole[tuple(slice(size) for size in target.shape)]
        target.copy_(value)
    return channels_last(subnet).eval()


def _transformed(supernet: Supernet, plan: Iterable[LayerSpec]) -> dict[str, Tensor]:
    """The subnet's tensors that are not slices of the supernet's."""
    return {
        f"{spec.name}.{name}": tensor
        for spec in plan
        for name, tensor in supernet.layer(spec.name).transformed(spec).items()
    }


def recalibrate(subnet: nn.Module, images: Iterable[Tensor], threads: int = 1) -> None:
    """Recompute every batch norm's running statistics on `images`, in place.

    Statistics are averages over the batches, weighted by their sizes, of each batch's mean and
    biased variance, with each batch normalized by its own (OFA's `set_running_statistics`).

    Args:
        subnet: an ordinary module with `nn.BatchNorm2d` layers, left in eval mode.
        images: batches (B, C, r, r) of preprocessed training images.
        threads: batches at the same time, each on one thread and added up in their order, so that
            the result is the same, bit for bit, on any number of them.

    Raises:
        InputError: if there are no images.
    """
    norms = _norms(subnet)
    totals = [(torch.zeros_like(norm.weight), torch.zeros_like(norm.weight)) for norm in norms]
    count = 0
    for batch, statistics in in_order(_BatchStatistics(subnet), images, threads):
        count += batch
        for total, (mean, var) in zip(totals, statistics, strict=True):
            total[0].add_(mean, alpha=batch)
            total[1].add_(var, alpha=batch)
    if not count:
        raise InputError("recalibration: expected at least one batch of images, got none")
    for norm, (mean, var) in zip(norms, totals, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean / count)
        norm.running_var.copy_(var / count)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.zero_()
    subnet.eval()


class _BatchStatistics:
    """Mean and biased variance of one batch in every batch norm of a network, from several threads.

    Each call takes an idle copy of the network, or makes one, so there are at most as many copies
    as concurrent calls.
    """

    def __init__(self, subnet: nn.Module) -> None:
        self._subnet = subnet
        self._idle: SimpleQueue[nn.Module] = SimpleQueue()

    @torch.no_grad()
    def __call__(self, batch_BCHW: Tensor) -> tuple[int, list[tuple[Tensor, Tensor]]]:
        try:
            copy = self._idle.get_nowait()
        except Empty:
            copy = self._copied()
        copy(batch_BCHW)
        found = [
            (norm.get_buffer("running_mean").clone(), norm.get_buffer("running_var").clone())
            for norm in _norms(copy)
        ]
        self._idle.put(copy)
        return len(batch_BCHW), found

    def _copied(self) -> nn.Module:
        copy = deepcopy(self._subnet).eval()
        for norm in _norms(copy):
            norm.train()
            norm.momentum = 1.0  # the running statistics are then the last batch's
            norm.register_forward_hook(_debias)
        return copy


def _norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]


def _debias(norm: nn.Module, inputs: Any, out_BCHW: Tensor) -> None:
    """torch keeps the unbiased variance; the published statistics are of the biased one."""
    values = out_BCHW.numel() // out_BCHW.shape[1]
    norm.get_buffer("running_var").mul_((values - 1) / values)

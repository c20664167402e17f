"""What a layer is said to compute and move, against its plain module, watched while it runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from models.errors import InputError
from models.layers import LayerSpec, kind_of
from models.layers.kind import WORK_UNITS
from models.layers.published import PublishedModule
from models.spaces import layer_plan
from tests.spaces import DEBUG, RESNET

BASE = LayerSpec(
    name="odd", kind="mbconv", in_channels=6, out_channels=10, in_size=9, mid_channels=12
)
ODD = {
    "k7": replace(BASE, kernel=7, stride=2, act="hswish", se_channels=4),
    "k1": replace(BASE, act="relu6"),
    "unexpanded": replace(BASE, in_channels=12, out_channels=12, kernel=3, act="hswish", skip=True),
    "strided conv": replace(BASE, kind="conv", kernel=5, stride=2, act="hswish", norm=True),
    "large bottleneck": replace(BASE, kind="bottleneck", kernel=5, stride=2, act="relu"),
    "window": replace(BASE, kind="maxpool", out_channels=6, kernel=3, stride=2),
}
LAYERS = ODD | {
    layer.key: layer
    for space in (DEBUG, RESNET)
    for arch in (space.smallest, space.largest)
    for layer in layer_plan(space, arch)
}
LAYER = pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))


class Watched:
    """One run of a layer's plain module on one image, counted operator by operator."""

    def __init__(self, layer: LayerSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layer, self.work, self.macs = layer, Counter[str](), 0
        module = kind_of(layer).plain(layer, 1e-5).eval()
        image = torch.randn(1, layer.in_channels, layer.in_size, layer.in_size)
        with monkeypatch.context() as patched, torch.no_grad():
            for name in ("conv2d", "linear", "hardswish"):
                patched.setattr(F, name, partial(getattr(self, name), getattr(F, name)))
            self.out = module(image)
        if not list(module.parameters()):
            # A mean writes next to nothing; a maximum over a window writes an image.
            written = self.out.numel() if self.out.shape[-1] > 1 else 0
            self.work["depthwise_values"] += image.numel() + written

    def conv2d(self, run, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        out = run(x, weight, bias, stride, padding, dilation, groups)
        macs, moved = weight.numel() * out.shape[-1] ** 2, x.numel() + out.numel()
        size = weight.shape[-1]
        self.macs += macs
        if self.layer.kind == "mbconv" and x.shape[-1] == 1:  # squeeze-and-excitation
            self.work["squeezes"] = 1
        elif groups == 1:
            self.work["pointwise_macs" if size == 1 else "dense_macs"] += macs
            self.work["dense_values"] += moved
            self.work["dense_layers"] += 1
        else:
            self.work[f"depthwise_k{max(size, 3)}_macs"] += macs
            self.work["depthwise_strided_macs"] += macs * (self.layer.stride > 1)
            self.work["depthwise_values"] += moved
            self.work["depthwise_layers"] += 1
            self.work["squeezed_values"] = out.numel() * (self.layer.se_channels > 0)
        return out

    def linear(self, run, x, weight, bias):
        self.macs += weight.numel()
        self.work["dense_layers"] += 1
        return run(x, weight, bias)

    def hardswish(self, run, x):
        self.work["hswish_values"] += x.numel()
        return run(x)


@LAYER
def test_work_and_macs_are_what_the_module_does(layer, monkeypatch):
    watched = Watched(layer, monkeypatch)
    expected = {"weights": layer.params, "blocks": kind_of(layer).is_block, **watched.work}
    found = kind_of(layer).work(layer)
    assert set(found) <= set(WORK_UNITS)
    assert {name: n for name, n in found.items() if n} == {n: v for n, v in expected.items() if v}
    assert layer.macs == watched.macs


@LAYER
def test_the_output_has_the_stated_shape(layer, monkeypatch):
    sizes = () if kind_of(layer).flattens else (layer.out_size, layer.out_size)
    assert Watched(layer, monkeypatch).out.shape == (1, layer.out_channels, *sizes)


def test_what_was_never_published_has_no_published_names():
    with pytest.raises(InputError, match="no published checkpoint has 'maxpool' layers"):
        list(kind_of(ODD["window"]).published_names(ODD["window"], PublishedModule("p")))

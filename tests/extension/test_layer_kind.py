"""A layer kind added from outside: the fused inverted bottleneck (EfficientNetV2, 2104.00298)."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latency_tables.benchmark import MeasureOptions, RuntimeStopwatch
from latency_tables.fitting import layer_features
from models.layers import LayerKind, conv_norm_shapes, register_kind, unregister_kind
from models.layers.modules import ElasticBatchNorm, ElasticLayer, activate
from models.onnx import run_onnx, subnet_onnx
from models.spaces import MobileSpace, architecture_svg, layer_plan
from models.supernet import Supernet, extract, initialize
from search.costs import latency_costs, macs_costs
from tests.fakes import FakeTable
from tests.spaces import DEBUG


class FusedModule(ElasticLayer):
    def __init__(self, spec, bn_eps, norm):
        super().__init__()
        self.spec = spec
        self.wide = nn.Conv2d(spec.in_channels, spec.mid_channels, spec.kernel, bias=False)
        self.wide_norm = norm(spec.mid_channels, bn_eps)
        self.project = nn.Conv2d(spec.mid_channels, spec.out_channels, 1, bias=False)
        self.project_norm = norm(spec.out_channels, bn_eps)

    def forward(self, x, spec=None):
        spec = spec or self.spec
        weight = self.transformed(spec)["wide.weight"]
        y = F.conv2d(x, weight, stride=spec.stride, padding=spec.kernel // 2)
        y = activate(self.wide_norm(y), spec.act)
        y = self.project_norm(F.conv2d(y, self.project.weight[:, : spec.mid_channels]))
        return x + y if spec.skip else y

    def transformed(self, spec):
        margin = (self.spec.kernel - spec.kernel) // 2
        return {"wide.weight": F.pad(self.wide.weight[: spec.mid_channels], [-margin] * 4)}


class Fused(LayerKind):
    name = "fused"
    is_block = True

    def macs(self, spec):
        wide = spec.kernel**2 * spec.in_channels + spec.out_channels
        return wide * spec.mid_channels * spec.out_size**2

    def work(self, spec):
        return {"dense_macs": spec.macs, "weights": spec.params, "dense_layers": 2, "blocks": 1}

    def tensor_shapes(self, spec):
        mid, window = spec.mid_channels, (spec.kernel, spec.kernel)
        wide = conv_norm_shapes("wide", mid, spec.in_channels, *window)
        return wide | conv_norm_shapes("project", spec.out_channels, mid, 1, 1)

    def add_onnx(self, graph, spec, x):
        n = spec.name
        y = graph.conv(f"{n}.wide", x, f"{n}.wide_norm", stride=spec.stride)
        y = graph.activation(spec.act, f"{n}.wide", y)
        y = graph.conv(f"{n}.project", y, f"{n}.project_norm")
        return graph.node("Add", f"{n}.skip", y, x) if spec.skip else y

    def elastic(self, spec, kernels, bn_eps):
        return FusedModule(dataclasses.replace(spec, kernel=kernels[-1]), bn_eps, ElasticBatchNorm)

    def plain(self, spec, bn_eps):
        return FusedModule(spec, bn_eps, nn.BatchNorm2d)


class FusedSpace(MobileSpace):
    def walk(self, arch):
        for layer in super().walk(arch):
            changes: dict = {"kind": "fused", "se_channels": 0} if layer.mid_channels else {}
            yield dataclasses.replace(layer, **changes)


@pytest.fixture
def space():
    register_kind(Fused())
    yield FusedSpace(**{f.name: getattr(DEBUG, f.name) for f in dataclasses.fields(DEBUG)})
    unregister_kind("fused")


@pytest.mark.slow
def test_it_trains_exports_costs_is_timed_and_drawn(space):
    supernet = Supernet(space)
    initialize(supernet, 0)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.05)
    images, losses = torch.randn(10, 1, 12, 12), []
    for _ in range(8):
        loss = F.cross_entropy(supernet(images, space.largest), torch.arange(10))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    supernet.eval()
    archs = [space.smallest, space.uniform(8, 1, 3, 4), space.largest]
    for arch in archs:
        x = torch.randn(2, 1, arch.resolution, arch.resolution)
        with torch.no_grad():
            logits = supernet(x, arch)
            assert torch.equal((subnet := extract(supernet, arch))(x), logits)
        exported = run_onnx(subnet_onnx(supernet, arch, subnet, {}), x.numpy())
        np.testing.assert_allclose(exported, logits.numpy(), atol=1e-5, rtol=1e-5)

    genes, table = space.encode(archs), FakeTable()
    plans = [layer_plan(space, arch) for arch in archs]
    assert macs_costs(space).evaluate(genes).tolist() == [sum(x.macs for x in p) for p in plans]
    expected_ms = [0.25 + sum(map(table.layer_ms, plan)) for plan in plans]
    assert latency_costs(space, table).evaluate(genes) == pytest.approx(expected_ms)
    assert layer_features([block := plans[-1][2]]).sum() > block.macs
    assert (RuntimeStopwatch(MeasureOptions()).prepare((block,))(1, 3) > 0).all()
    assert f"{block.name}: fused, kernel {block.kernel}" in architecture_svg(space, space.largest)

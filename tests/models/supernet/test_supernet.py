"""Elastic against extracted against plain torch, bit for bit where no arithmetic differs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import InputError
from models.layers.modules import depthwise
from models.layers.modules.depthwise import depthwise_conv
from models.layers.modules.elastic import ElasticDepthwise, channels_last
from models.layers.modules.mbconv import ElasticMBConv
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from models.supernet.channel_sorting import sort_channels
from models.supernet.extraction import extract, plain, recalibrate
from models.supernet.supernet import Supernet, initialize
from tests.spaces import DEBUG, FASHION_LIKE


def worn(supernet: Supernet, seed: int = 0) -> Supernet:
    """A supernet whose every tensor is non-trivial, as after training."""
    generator = torch.Generator().manual_seed(seed)
    initialize(supernet, seed)
    with torch.no_grad():
        for name, tensor in supernet.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif name.endswith("_matrix"):
                tensor.add_(0.05 * noise)
            elif tensor.ndim == 1:
                tensor.add_(0.1 * noise)
    return channels_last(supernet).eval()


def images(arch: Arch, batch: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 1, arch.resolution, arch.resolution), generator=generator)


@pytest.mark.slow
@pytest.mark.parametrize("space", [DEBUG, FASHION_LIKE], ids=lambda space: space.name)
def test_extracted_equals_elastic_bit_for_bit(space):
    supernet = worn(Supernet(space))
    rng = np.random.default_rng(0)
    for arch in [space.largest, space.smallest, *space.decode(space.sample(6, rng))]:
        x = images(arch)
        with torch.no_grad():
            assert torch.equal(supernet(x, arch), extract(supernet, arch)(x)), arch


@pytest.mark.slow
def test_largest_subnet_equals_a_network_written_by_hand():
    """The dumb twin of the walk, the blocks and the squeeze: plain torch, one line an operation."""
    supernet = worn(Supernet(DEBUG))
    arch = DEBUG.largest
    state = {k.removeprefix("layers."): v for k, v in supernet.state_dict().items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)

    def hswish(x: Tensor) -> Tensor:
        return x * F.relu6(x + 3) / 6

    def block(x: Tensor, name: str, stride: int, act, se: bool, skip: bool) -> Tensor:
        y = x
        if f"{name}.expand.weight" in state:
            y = act(norm(F.conv2d(y, state[f"{name}.expand.weight"]), f"{name}.expand_norm"))
        weight = state[f"{name}.depthwise.weight"]
        y = F.conv2d(y, weight, None, stride, weight.shape[-1] // 2, 1, len(weight))
        y = act(norm(y, f"{name}.depthwise_norm"))
        if se:
            z = y.mean((2, 3), keepdim=True)
            z = F.relu(F.conv2d(z, *(state[f"{name}.se_reduce.{p}"] for p in ("weight", "bias"))))
            z = F.conv2d(z, *(state[f"{name}.se_expand.{p}"] for p in ("weight", "bias")))
            y = y * F.relu6(z + 3) / 6
        y = norm(F.conv2d(y, state[f"{name}.project.weight"]), f"{name}.project_norm")
        return x + y if skip else y

    x = images(arch)
    y = hswish(norm(F.conv2d(x, state["stem.conv.weight"], None, 1, 1), "stem.norm"))
    y = block(y, "first", 1, F.relu, se=False, skip=True)
    y = block(y, "stage1_block1", 2, F.relu, se=False, skip=False)
    y = block(y, "stage1_block2", 1, F.relu, se=False, skip=True)
    y = block(y, "stage2_block1", 2, hswish, se=True, skip=False)
    y = block(y, "stage2_block2", 1, hswish, se=True, skip=True)
    y = hswish(norm(F.conv2d(y, state["head.conv.weight"]), "head.norm"))
    y = hswish(F.conv2d(y.mean((2, 3), keepdim=True), state["feature.conv.weight"]))
    y = F.linear(y.flatten(1), state["classifier.weight"], state["classifier.bias"])
    with torch.no_grad():
        torch.testing.assert_close(supernet(x, arch), y, rtol=1e-5, atol=1e-6)


def test_kernels_are_centres_through_the_matrices():
    depthwise = ElasticDepthwise(4, (3, 5, 7))
    weight = torch.randn(4, 1, 7, 7)
    with torch.no_grad():
        depthwise.weight.copy_(weight)
        depthwise.get_parameter("7to5_matrix").mul_(2)
        depthwise.get_parameter("5to3_matrix").mul_(3)
    assert torch.equal(depthwise.filters(4, 7), weight)
    assert torch.equal(depthwise.filters(3, 5), 2 * weight[:3, :, 1:6, 1:6])
    assert torch.equal(depthwise.filters(2, 3), 6 * weight[:2, :, 2:5, 2:5])


def test_no_state_is_left_by_a_forward():
    supernet, x = worn(Supernet(DEBUG)), images(DEBUG.largest)
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    with torch.no_grad():
        first = supernet(x, DEBUG.largest)
        supernet(images(DEBUG.smallest), DEBUG.smallest)
        assert torch.equal(first, supernet(x, DEBUG.largest))
    assert all(torch.equal(before[k], v) for k, v in supernet.state_dict().items())


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"expected \(batch, 1, 12, 12\)"):
        Supernet(DEBUG)(torch.zeros(1, 1, 8, 8), DEBUG.largest)


class TestRecalibration:
    @pytest.mark.slow
    def test_equals_statistics_taken_layer_by_layer(self):
        """Twin: torch's own cumulative average over equal batches, with its unbiased variance
        turned back into the biased one."""
        arch = DEBUG.largest
        subnet = extract(worn(Supernet(DEBUG)), arch)
        twin = extract(worn(Supernet(DEBUG)), arch)
        batches = [images(arch, 8, seed) for seed in range(3)]
        recalibrate(subnet, batches)
        norms = [m for m in twin.modules() if isinstance(m, nn.BatchNorm2d)]
        sizes: dict[int, int] = {}
        for module in norms:
            module.reset_running_stats()
            module.momentum = None
            module.train()
            module.register_forward_hook(
                lambda m, inputs, _: sizes.__setitem__(
                    id(m), inputs[0].numel() // inputs[0].shape[1]
                )
            )
        with torch.no_grad():
            for batch in batches:
                twin(batch)
        mine = [m for m in subnet.modules() if isinstance(m, nn.BatchNorm2d)]
        for ours, theirs in zip(mine, norms, strict=True):
            assert theirs.running_var is not None
            biased = theirs.running_var * (sizes[id(theirs)] - 1) / sizes[id(theirs)]
            torch.testing.assert_close(ours.running_mean, theirs.running_mean)
            torch.testing.assert_close(ours.running_var, biased)

    @pytest.mark.slow
    def test_batches_count_by_their_size(self):
        """In the first norm, whose inputs depend on no other, the mean is that of all images."""
        subnet = extract(worn(Supernet(DEBUG)), DEBUG.largest)
        stem = subnet.get_submodule("stem")
        conv, norm = stem.get_submodule("conv"), stem.get_submodule("norm")
        batches = [images(DEBUG.largest, size, size) for size in (1, 2, 5)]
        with torch.no_grad():
            inputs = [conv(batch) for batch in batches]
        recalibrate(subnet, batches)
        expected = torch.cat(inputs).mean((0, 2, 3))
        torch.testing.assert_close(norm.get_buffer("running_mean"), expected)
        within = [len(x) / 8 * x.var((0, 2, 3), correction=0) for x in inputs]
        torch.testing.assert_close(norm.get_buffer("running_var"), torch.stack(within).sum(0))

    @pytest.mark.parametrize("threads", [2, 3, 7])
    def test_is_the_same_to_the_bit_on_any_number_of_threads(self, threads):
        arch = DEBUG.largest
        batches = [images(arch, 2 + seed, seed) for seed in range(5)]
        one, many = (extract(worn(Supernet(DEBUG)), arch) for _ in range(2))
        recalibrate(one, batches)
        recalibrate(many, iter(batches), threads)
        for a, b in zip(one.state_dict().values(), many.state_dict().values(), strict=True):
            assert torch.equal(a, b)

    def test_without_images_is_refused(self):
        with pytest.raises(InputError, match="at least one"):
            recalibrate(extract(worn(Supernet(DEBUG)), DEBUG.smallest), [])


class TestSorting:
    @pytest.mark.slow
    def test_largest_network_computes_the_same(self):
        supernet = worn(Supernet(DEBUG))
        arch, x = DEBUG.largest, images(DEBUG.largest)
        with torch.no_grad():
            before = supernet(x, arch)
            sort_channels(supernet)
            torch.testing.assert_close(supernet(x, arch), before, rtol=1e-4, atol=1e-5)

    def test_important_channels_come_first(self):
        supernet = worn(Supernet(DEBUG))
        sort_channels(supernet)
        layer = supernet.layers["stage2_block2"]
        assert isinstance(layer, ElasticMBConv)
        importance = layer.project.weight.abs().sum((0, 2, 3))
        assert torch.equal(importance, importance.sort(descending=True).values)

    @pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
    @pytest.mark.parametrize("bands", [(), (8,), (24, 8), (8, 16, 24), (96,)])
    def test_order_is_that_of_a_stable_sort_band_by_band(self, scale, bands):
        """In float64, which tells importances apart beside any other number."""
        spec = layer_plan(FASHION_LIKE, FASHION_LIKE.largest)[-5]
        block = ElasticMBConv(spec, (3, 5), 1e-5)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            block.project.weight.copy_(torch.randn(block.project.weight.shape, generator=generator))
            block.project.weight.mul_(scale)
        before = block.project.weight.detach().clone()
        importance = before.abs().sum((0, 2, 3)).double().tolist()
        band = [sum(channel >= bound for bound in bands) for channel in range(len(importance))]
        expected = sorted(range(len(importance)), key=lambda c: (band[c], -importance[c]))
        block.sort_channels(spec, bands)
        assert torch.equal(block.project.weight, before[:, expected])

    @pytest.mark.slow
    def test_fixed_bands_keep_their_channels(self):
        """Subnets trained at expansion 3 compute the same after a later sort, whatever grew.

        Without squeeze-and-excitation: squeezed channels are shared by all expansions and are
        sorted each time.
        """
        space = replace(DEBUG, stages=tuple(replace(s, se=False) for s in DEBUG.stages))
        supernet, arch = worn(Supernet(space)), space.uniform(12, -1, 5, 3)
        x = images(arch)
        sort_channels(supernet)
        with torch.no_grad():
            for block in supernet.layers.values():
                if isinstance(block, ElasticMBConv):
                    block.project.weight[:, 24:].mul_(10)
            before = supernet(x, arch)
            sort_channels(supernet, fixed_expands=(3,))
            torch.testing.assert_close(supernet(x, arch), before, rtol=1e-4, atol=1e-5)
            sort_channels(supernet)
            assert not torch.allclose(supernet(x, arch), before, rtol=1e-3)


class TestDepthwise:
    @pytest.mark.parametrize("kernel", [3, 5, 7])
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize(("channels", "size"), [(8, 7), (24, 4), (12, 5), (16, 14)])
    def test_gradients_equal_torch(self, kernel, stride, channels, size):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn((5, channels, size, size), generator=generator)
        x = x.contiguous(memory_format=torch.channels_last)
        weight = torch.randn((channels, 1, kernel, kernel), generator=generator)
        grads = []
        for convolve in (
            lambda a, w: depthwise_conv(a, w, stride),
            lambda a, w: F.conv2d(a, w, None, stride, kernel // 2, 1, channels),
        ):
            a, w = x.clone().requires_grad_(), weight.clone().requires_grad_()
            y = convolve(a, w)
            (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
            grads.append((y.detach(), a.grad, w.grad))
        for ours, theirs in zip(*grads, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    def test_denormals_survive_the_kernel(self):
        """Loading a library built with -ffast-math would flush them in the whole process."""
        weight = torch.randn(8, 1, 5, 5, requires_grad=True)
        depthwise_conv(torch.randn(2, 8, 6, 6), weight, 1).sum().backward()
        assert np.float64(5e-324) * np.float64(1) > 0

    def test_falls_back_without_a_compiler(self, monkeypatch):
        x = torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
        weight = torch.randn(8, 1, 5, 5, requires_grad=True)
        depthwise_conv(x, weight, 1).square().sum().backward()
        compiled, weight.grad = weight.grad, None
        monkeypatch.setattr(depthwise, "_compiled", lambda: None)
        depthwise_conv(x, weight, 1).square().sum().backward()
        torch.testing.assert_close(weight.grad, compiled, rtol=1e-4, atol=1e-4)

    def test_the_kernel_is_compiled_where_there_is_a_compiler(self, monkeypatch):
        compiler = shutil.which("g++") or shutil.which("clang++")
        compiled = depthwise._compiled.__wrapped__  # what is not remembered
        monkeypatch.delenv("SUBNET_NATIVE_KERNELS", raising=False)
        assert (compiled() is not None) == (compiler is not None)
        monkeypatch.setenv("SUBNET_NATIVE_KERNELS", "0")
        assert compiled() is None
        monkeypatch.delenv("SUBNET_NATIVE_KERNELS")
        monkeypatch.setenv("PATH", "")
        assert compiled() is None

    def test_the_kernel_runs_where_it_applies_and_nowhere_else(self, monkeypatch):
        calls = []

        def fail(*args):
            calls.append(args)
            return 1

        monkeypatch.setattr(depthwise, "_compiled", lambda: fail)
        x = torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
        others = (
            (x, torch.randn(8, 1, 3, 3)),
            (x.contiguous(), torch.randn(8, 1, 5, 5)),
            (x.double(), torch.randn(8, 1, 5, 5, dtype=torch.float64)),
        )
        for image, filters in others:
            depthwise_conv(image, filters.requires_grad_(), 2).sum().backward()
        assert calls == []
        filters = torch.randn(8, 1, 5, 5, requires_grad=True)
        depthwise_conv(x, filters, 2).sum().backward()
        ((*_, batch, height, width, channels, out_height, out_width, kernel, stride),) = calls
        assert (batch, height, width, channels) == (2, 6, 6, 8)
        assert (out_height, out_width, kernel, stride) == (3, 3, 5, 2)
        # It said that it had failed, so torch computed the gradient.
        filters.grad, ours = None, filters.grad
        F.conv2d(x, filters, None, 2, 2, 1, 8).sum().backward()
        torch.testing.assert_close(ours, filters.grad)


def test_filters_are_laid_out_channels_last_and_keep_their_values():
    conv = nn.Conv2d(4, 5, 3)
    before = conv.weight.detach().clone()
    assert not before.is_contiguous(memory_format=torch.channels_last)
    assert channels_last(conv) is conv
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(conv.weight, before)


def test_plain_network_has_the_tensors_of_the_extracted_one():
    arch = FASHION_LIKE.smallest
    ours = plain(layer_plan(FASHION_LIKE, arch), 1e-5).state_dict()
    theirs = extract(Supernet(FASHION_LIKE), arch).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}

"""`models.spaces.resnet`: the same contracts as the other family, against enumeration and plain
torch.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InputError
from models.onnx.export import run_onnx, subnet_onnx
from models.spaces.arch import Arch
from models.spaces.files import published_spaces, read_space
from models.spaces.plan import layer_plan, macs, params
from models.supernet.extraction import extract
from models.supernet.supernet import Supernet
from search.costs.costs import latency_costs, macs_costs, params_costs
from search.pareto import pareto_front
from tests.brute import all_genes, front_by_definition
from tests.fakes import FakeTable
from tests.models.supernet.test_supernet import worn
from tests.spaces import RESNET

GENES = all_genes(RESNET)
ARCHS = RESNET.decode(GENES)


def test_every_architecture_is_counted_once():
    blocks = [[list(itertools.product((0.25, 0.5), repeat=n)) for n in (1, 2)] for _ in range(2)]
    by_hand = {
        (resolution, stem, width, first, second)
        for resolution in (33, 40)
        for stem in (0, 1)
        for width in itertools.product((0.5, 1.0), repeat=4)
        for first in itertools.chain(*blocks[0])
        for second in itertools.chain(*blocks[1])
    }
    assert len(by_hand) == len(set(ARCHS)) == RESNET.cardinality
    assert {(a.resolution, a.depth[0], a.width, *a.expand) for a in ARCHS} == by_hand
    assert (RESNET.encode(ARCHS) == GENES).all()
    assert [Arch.from_json(arch.to_json()) for arch in ARCHS] == ARCHS


@pytest.mark.slow
def test_costs_are_the_sums_over_layers_on_the_whole_space():
    assert macs_costs(RESNET).evaluate(GENES).tolist() == [macs(RESNET, a) for a in ARCHS]
    assert params_costs(RESNET).evaluate(GENES).tolist() == [params(RESNET, a) for a in ARCHS]
    table = FakeTable(network_overhead_ms=0.25)
    by_hand = [0.25 + sum(map(table.layer_ms, layer_plan(RESNET, a))) for a in ARCHS]
    model = latency_costs(RESNET, table)
    np.testing.assert_allclose(model.evaluate(GENES), by_hand, rtol=1e-13)
    assert model.floor() == pytest.approx(min(by_hand))
    assert model.ceiling() == pytest.approx(max(by_hand))


def test_costs_of_the_published_space_are_exact():
    space = published_spaces()["ofa-resnet50"]
    genes = space.sample(40, np.random.default_rng(0))
    expected = [macs(space, arch) for arch in space.decode(genes)]
    assert macs_costs(space).evaluate(genes).tolist() == expected


def test_the_exact_front_is_exact():
    costs, values = latency_costs(RESNET, FakeTable()), macs_costs(RESNET)
    found = pareto_front(costs.factors, values.factors, RESNET.n_choices, width=10_000)
    expected = front_by_definition(costs.evaluate(GENES) - costs.constant, values.evaluate(GENES))
    np.testing.assert_allclose(np.stack([found.cost, found.value], 1), sorted(expected), rtol=1e-12)


def by_hand(state: dict[str, Tensor], arch: Arch, x: Tensor) -> Tensor:
    """The largest network in plain torch, one line an operation."""

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(y, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)

    def conv(y: Tensor, name: str, stride: int = 1, tail: str = "_norm") -> Tensor:
        weight = state[f"{name}.weight"]
        y = F.conv2d(y, weight, None, stride, weight.shape[-1] // 2)
        return norm(y, name.removesuffix(".conv") + tail)

    y = F.relu(conv(x, "stem.conv", 2, ".norm"))
    y = y + F.relu(conv(y, "stem_residual.conv", 1, ".norm"))
    y = F.relu(conv(y, "stem_out.conv", 1, ".norm"))
    y = F.max_pool2d(y, 3, 2, 1)
    for s, stride in enumerate((1, 2)):
        for b in range(2):
            name, step = f"stage{s + 1}_block{b + 1}", stride if b == 0 else 1
            z = F.relu(conv(y, f"{name}.reduce"))
            z = F.relu(conv(z, f"{name}.spatial", step))
            z = conv(z, f"{name}.project")
            if b == 0:
                y = conv(F.avg_pool2d(y, step, ceil_mode=True), f"{name}.shortcut")
            y = F.relu(z + y)
    return F.linear(y.mean((2, 3)), state["classifier.weight"], state["classifier.bias"])


@pytest.mark.slow
def test_the_largest_network_equals_one_written_by_hand():
    supernet, arch = worn(Supernet(RESNET)), RESNET.at([33]).largest
    state = {k.removeprefix("layers."): v for k, v in supernet.state_dict().items()}
    x = torch.randn(2, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(supernet(x, arch), by_hand(state, arch, x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_extracted_equals_elastic_bit_for_bit_and_onnx_nearly():
    supernet = worn(Supernet(RESNET))
    for arch in [RESNET.largest, RESNET.smallest, *ARCHS[::301]]:
        size = arch.resolution
        x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
        subnet = extract(supernet, arch)
        with torch.no_grad():
            expected = supernet(x, arch)
            assert torch.equal(subnet(x), expected)
        found = run_onnx(subnet_onnx(supernet, arch, subnet, {}), x.numpy())
        assert np.abs(found - expected.numpy()).max() <= 1e-5 * np.abs(expected.numpy()).max()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": [1, 0]}, "expected 3"),
        ({"depth": [2, 0, 0]}, r"depth\[0\]: expected one of \[0, 1\], got 2"),
        ({"width": [1.0, 1.0, 0.7, 1.0]}, r"width\[2\]: expected one of \[0.5, 1.0\], got 0.7"),
        ({"width": [1.0]}, "expected 4 entries"),
        ({"expand": [[0.25, 0.25], [0.5]]}, r"expand\[0\]: expected 1 entries \(depth\[1\]\)"),
        ({"expand": [[3], [6]]}, r"expand\[0\]\[0\]: expected one of \[0.25, 0.5\], got 3"),
    ],
)
def test_architectures_outside_the_space_are_refused(change, words):
    good = {"resolution": 33, "depth": [0, 0, 0], "width": [1] * 4, "expand": [[0.25], [0.5]]}
    RESNET.validate(Arch.from_json(good))
    with pytest.raises(InputError, match=words):
        RESNET.validate(Arch.from_json(good | change))


def test_space_json_round_trips():
    assert read_space(RESNET.to_json()) == RESNET
    for space in published_spaces().values():
        assert read_space(space.to_json()) == space

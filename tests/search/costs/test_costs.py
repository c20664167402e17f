"""`search.costs.costs` against layer-by-layer sums and the enumeration of a small space."""

from dataclasses import replace

import numpy as np
import pytest

from models.errors import NotFound
from models.spaces.plan import layer_plan, macs, params
from search.costs.costs import (
    CostModel,
    Factor,
    latency_costs,
    macs_costs,
    params_costs,
    scaled,
    weighted,
)
from tests.brute import all_archs, all_genes
from tests.fakes import FakeTable
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

ARCHS = all_archs(DEBUG)
GENES = DEBUG.encode(ARCHS)
UNEVEN = replace(
    DEBUG,
    stages=(
        replace(DEBUG.stages[0], depths=(1, 3)),
        replace(DEBUG.stages[1], depths=(2,)),
        replace(DEBUG.stages[1], depths=(1, 2)),
    ),
    kernels=(3,),
)


def test_macs_and_params_are_exact_on_the_whole_space():
    assert macs_costs(DEBUG).evaluate(GENES).tolist() == [macs(DEBUG, arch) for arch in ARCHS]
    assert params_costs(DEBUG).evaluate(GENES).tolist() == [params(DEBUG, arch) for arch in ARCHS]


def test_latency_is_the_overhead_and_the_sum_of_layers():
    table = FakeTable(network_overhead_ms=0.25)
    by_hand = [0.25 + sum(map(table.layer_ms, layer_plan(DEBUG, arch))) for arch in ARCHS]
    np.testing.assert_allclose(latency_costs(DEBUG, table).evaluate(GENES), by_hand, rtol=1e-13)


def test_a_large_space_of_uneven_stages():
    for space in (FASHION_LIKE, UNEVEN):
        genes = space.sample(50, np.random.default_rng(0))
        expected = [macs(space, arch) for arch in space.decode(genes)]
        assert macs_costs(space).evaluate(genes).tolist() == expected


def test_a_part_of_the_space_costs_the_same():
    for space in (FASHION_LIKE, RESNET):
        part = space.at(space.resolutions[1:2])
        model = latency_costs(space, FakeTable(network_overhead_ms=0.25))
        genes = part.sample(50, np.random.default_rng(0))
        expected = model.evaluate(space.encode(part.decode(genes)))
        assert (model.at(part).evaluate(genes) == expected).all()
        assert (latency_costs(part, FakeTable(0.25)).evaluate(genes) == expected).all()


def test_a_row_costs_the_same_in_any_batch():
    model = latency_costs(FASHION_LIKE, FakeTable())
    genes = FASHION_LIKE.sample(200, np.random.default_rng(0))
    together = model.evaluate(genes)
    alone = np.concatenate([model.evaluate(row[None]) for row in genes])
    assert (together == alone).all()
    assert model.evaluate(genes[:0]).shape == (0,)


@pytest.mark.parametrize("space", [DEBUG, UNEVEN])
@pytest.mark.parametrize("seed", range(5))
def test_floor_and_ceiling_are_exact_for_any_table(space, seed):
    """Random costs of either sign: nothing says that smaller choices are cheaper."""
    rng = np.random.default_rng(seed)
    known: dict[str, float] = {}
    model = CostModel.compile(
        space, lambda layer: known.setdefault(layer.key, rng.normal()), constant=2.0
    )
    genes = all_genes(space)
    costs = model.evaluate(genes)
    assert model.floor() == costs.min()
    assert model.ceiling() == costs.max()
    assert (model.floor_genes == genes[costs.argmin()]).all()


@pytest.mark.parametrize("seed", range(3))
def test_of_networks_that_cost_the_same_the_lowest_genes_are_the_floor(seed):
    rng = np.random.default_rng(seed)
    known: dict[str, float] = {}
    model = CostModel.compile(
        DEBUG, lambda layer: known.setdefault(layer.key, float(rng.integers(2)))
    )
    genes = all_genes(DEBUG)
    costs = model.evaluate(genes)
    assert (costs == costs.min()).sum() > 1
    # `all_genes` has them in order, and `argmin` takes the first.
    assert (model.floor_genes == genes[costs.argmin()]).all()


def test_floor_of_a_large_space_is_its_smallest_network():
    model = macs_costs(FASHION_LIKE)
    assert FASHION_LIKE.decode(model.floor_genes[None]) == [FASHION_LIKE.smallest]
    assert model.floor() == macs(FASHION_LIKE, FASHION_LIKE.smallest)
    assert model.ceiling() == macs(FASHION_LIKE, FASHION_LIKE.largest)


def test_weighted_sums_models():
    models = {"macs": macs_costs(DEBUG), "latency_ms": latency_costs(DEBUG, FakeTable())}
    both = weighted(models, {"macs": 1e-6, "latency_ms": 2.0})
    expected = 1e-6 * models["macs"].evaluate(GENES) + 2 * models["latency_ms"].evaluate(GENES)
    np.testing.assert_allclose(both.evaluate(GENES), expected, rtol=1e-13)


def test_a_scaled_model_costs_that_many_times_as_much():
    model = latency_costs(DEBUG, FakeTable())
    expected = 2.5 * model.evaluate(GENES)
    np.testing.assert_allclose(scaled(model, 2.5).evaluate(GENES), expected, rtol=1e-13)


def test_only_layers_that_exist_are_asked_for():
    table = FakeTable()
    latency_costs(DEBUG, table)
    assert table.layers_asked == {layer.key for arch in ARCHS for layer in layer_plan(DEBUG, arch)}


def test_a_layer_that_the_table_lacks_is_named():
    class Incomplete(FakeTable):
        def layer_ms(self, layer, keys=None):
            raise NotFound(f"no latency of {layer.key}")

    with pytest.raises(NotFound, match="conv-in8x8x1"):
        latency_costs(DEBUG, Incomplete())


@pytest.mark.parametrize(
    ("sizes", "fits"), [((2**23, 2**23, 9), False), ((2**23, 2**23 - 1, 9), True)]
)
def test_no_more_entries_are_indexed_than_float32_counts(sizes, fits):
    factors = tuple(Factor("f", (0,), np.broadcast_to(0.0, size)) for size in sizes)
    model = CostModel(DEBUG, factors)
    if fits:
        assert model._offsets_F.tolist() == [0, 2**23, 2**24 - 1]
    else:
        with pytest.raises(AssertionError, match="float32"):
            _ = model._offsets_F

"""Frozen parts and ranges against enumeration: exactly the best of every network that is left."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import Infeasible, InvalidDocument
from models.spaces.frozen import frozen_part, place_of, read_frozen
from models.spaces.part import SpacePart
from models.spaces.space import SearchSpace
from search.costs.costs import Cost, latency_costs, macs_costs, params_costs
from search.costs.peak_memory import peak_memory_costs
from search.evolution.effort import EFFORTS, Work
from search.evolution.enumeration import every_network
from search.evolution.operators import crossover, mutate, neighbours
from search.evolution.problem import SubnetProblem
from search.evolution.run import search_subnet
from search.predictors.part import predictor_of_part
from search.predictors.protocol import warm_start_pool_of
from search.target import Target, check_target, search_cheapest
from tests.brute import all_genes
from tests.fakes import FakeTable, LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

SPACES: dict[str, SearchSpace] = {space.name: space for space in (DEBUG, RESNET)}
GENES = {name: all_genes(space) for name, space in SPACES.items()}
COSTS: dict[str, dict[str, Cost]] = {
    name: {
        "latency_ms": latency_costs(space, FakeTable()),
        "macs": macs_costs(space),
        "params": params_costs(space),
        "peak_memory_bytes": peak_memory_costs(space),
    }
    for name, space in SPACES.items()
}


@st.composite
def kept_choices(draw, space):
    """A random nonempty set of choices of each gene; most genes keep all."""
    kept = []
    for gene in space.genes:
        everything = tuple(range(len(gene.choices)))
        subset = st.sets(st.sampled_from(everything), min_size=1).map(sorted).map(tuple)
        kept.append(draw(st.one_of(st.just(everything), subset)))
    return kept


def of_part(part, genes):
    """The rows of the whole space that a part has, by the definition."""
    inside = [
        all(not on or index in kept for index, on, kept in zip(row, active, part.kept, strict=True))
        for row, active in zip(genes, part.whole.active(genes), strict=True)
    ]
    return genes[np.array(inside)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@given(st.data())
@settings(max_examples=12)
def test_a_part_has_exactly_the_networks_that_are_left(name, data):
    """Its rows, their costs and everything made of them."""
    space = SPACES[name]
    part = SpacePart.of(space, data.draw(kept_choices(space)))
    expected = of_part(part, GENES[name])
    rows = every_network(part)
    whole = part.to_whole(rows)
    assert len(rows) == part.cardinality == len(expected)
    assert np.array_equal(np.unique(whole, axis=0), expected)
    assert np.array_equal(part.of_whole(whole), rows)
    assert part.decode(rows[:5]) == space.decode(whole[:5])
    for model in COSTS[name].values():
        assert np.array_equal(model.at(part).evaluate(rows), model.evaluate(whole))
        assert model.at(part).floor() == model.evaluate(whole).min()
        assert model.at(part).ceiling() == model.evaluate(whole).max()
    rng = np.random.default_rng(0)
    parents = rows[rng.integers(0, len(rows), 20)]
    made = [
        part.sample(20, rng),
        part.sample_tilted(20, 1.5, rng),
        mutate(part, parents, 0.5, rng),
        crossover(part, parents, parents[::-1], 0.5, rng),
        neighbours(part, rows[0]).genes,
        part.of_whole(GENES[name]),
    ]
    known = {row.tobytes() for row in rows}
    assert all(row.tobytes() in known for some in made for row in some)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@given(st.data())
@settings(max_examples=12)
def test_frozen_parts_and_ranges_give_exactly_the_best(name, data):
    """Of any part, between any two bounds of up to two costs; nothing is left: it is refused."""
    space, costs = SPACES[name], COSTS[name]
    part = SpacePart.of(space, data.draw(kept_choices(space)))
    predictor = LinearAccuracy(space, data.draw(st.integers(0, 99)), 0.3)
    genes = of_part(part, GENES[name])
    limits, minimums, met = {}, {}, np.ones(len(genes), bool)
    for limit in data.draw(st.sets(st.sampled_from(sorted(costs)), max_size=2)):
        values = costs[limit].evaluate(GENES[name])
        low, high = np.quantile(values, sorted(data.draw(st.tuples(*[st.floats(0, 1)] * 2))))
        if data.draw(st.booleans()):
            minimums[limit] = float(low)
        limits[limit] = float(high)
        own = costs[limit].evaluate(genes)
        met &= (own <= high) & (own >= minimums.get(limit, 0.0))
    given_costs = {limit: cost.at(part) for limit, cost in costs.items()}
    asked = (part, predictor_of_part(predictor, part), given_costs, limits, 0)
    if not met.any():
        with pytest.raises(Infeasible):
            search_subnet(*asked, minimums=minimums)
        return
    found = search_subnet(*asked, minimums=minimums)
    assert found.top1 == pytest.approx(predictor.predict(genes[met]).max(), abs=1e-9)
    assert space.encode([found.arch])[0].tobytes() in {row.tobytes() for row in genes[met]}


@given(st.data())
@settings(max_examples=12)
def test_the_cheapest_at_a_target_is_exactly_that_of_enumeration(data):
    """Of any part, at any accuracy, within a limit; nothing reaches it: the best is named."""
    costs, predictor = COSTS["debug"], LinearAccuracy(DEBUG, data.draw(st.integers(0, 99)), 0.3)
    part = SpacePart.of(DEBUG, data.draw(kept_choices(DEBUG)))
    genes = of_part(part, GENES["debug"])
    macs = np.quantile(costs["macs"].evaluate(genes), data.draw(st.floats(0, 1)))
    genes = genes[costs["macs"].evaluate(genes) <= macs]
    top1 = predictor.predict(genes)
    target = Target(top1=float(np.quantile(top1, data.draw(st.floats(0, 1)))) - 1e-9)
    asked = (part, predictor_of_part(predictor, part), {n: c.at(part) for n, c in costs.items()})
    found = search_cheapest(*asked, {"macs": float(macs)}, target, 0)
    least = costs["latency_ms"].evaluate(genes[top1 >= target.top1]).min()
    assert found.costs["latency_ms"] == least
    assert found.top1 >= target.top1
    with pytest.raises(Infeasible, match="most accurate network found") as refused:
        search_cheapest(*asked, {"macs": float(macs)}, Target(top1=float(top1.max()) + 1e-6), 0)
    assert refused.value.ceiling == pytest.approx(top1.max())


@pytest.mark.slow
def test_a_target_in_a_large_space_is_met_at_less_than_a_search_needs():
    """The network of a search within a budget is one that reaches its own accuracy."""
    costs = {"latency_ms": latency_costs(FASHION_LIKE, FakeTable())}
    predictor = LinearAccuracy(FASHION_LIKE, 0, 0.3)
    budget = 0.5 * (costs["latency_ms"].floor() + costs["latency_ms"].ceiling())
    usual = search_subnet(FASHION_LIKE, predictor, costs, {"latency_ms": budget}, 3)
    shares = []
    found = search_cheapest(
        FASHION_LIKE, predictor, costs, {}, Target(top1=usual.top1), 0,
        on_progress=lambda progress: shares.append(progress.share),
    )  # fmt: skip
    assert found.top1 >= usual.top1
    assert found.costs["latency_ms"] <= 1.005 * usual.costs["latency_ms"]
    assert shares == sorted(shares)


@pytest.fixture
def few(monkeypatch):
    """Searches of little work, so that what they find hangs on where they start."""
    for effort in EFFORTS:
        work = Work(evaluations=300, batch=100, capacity=2, slack=0.5)
        monkeypatch.setitem(EFFORTS, effort, work)


@pytest.mark.slow
@given(seed=st.integers(0, 99), effort=st.sampled_from([*EFFORTS]))
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_target_that_a_known_network_reaches_is_met_whatever_the_effort(few, seed, effort):
    """Only one network is good enough, and it is known: no seed or effort misses or refuses it."""
    costs = {"latency_ms": latency_costs(FASHION_LIKE, FakeTable())}
    needle = FASHION_LIKE.sample(1, np.random.default_rng(seed))

    class Needle(LinearAccuracy):
        def predict(self, genes):
            return np.where((genes == needle).all(axis=1), 99.0, super().predict(genes) / 2)

    predictor, target = Needle(FASHION_LIKE), Target(top1=98.0)
    problem = SubnetProblem(FASHION_LIKE, predictor, costs, {})
    check_target(problem, target, lambda: needle)
    limits: dict[str, float] = {}
    asked = (FASHION_LIKE, predictor, costs, limits, target, seed)
    found = search_cheapest(*asked, effort=effort, known=needle)
    assert found.genes.tobytes() == needle.tobytes()
    with pytest.raises(Infeasible) as refused:
        check_target(problem, target, lambda: needle[:0])
    with pytest.raises(Infeasible) as again:
        search_cheapest(*asked, effort=effort)
    assert again.value.ceiling == refused.value.ceiling


@pytest.mark.slow
def test_a_target_that_is_reached_below_a_range_is_met_at_its_lower_end():
    costs = {"latency_ms": latency_costs(FASHION_LIKE, FakeTable())}
    predictor = LinearAccuracy(FASHION_LIKE, 0, 0.3)
    least = 0.5 * (costs["latency_ms"].floor() + costs["latency_ms"].ceiling())
    found = search_cheapest(
        FASHION_LIKE, predictor, costs, {}, Target(top1=0.1), 0, minimums={"latency_ms": least}
    )
    assert least <= found.costs["latency_ms"] <= 1.01 * least


def test_a_predictor_that_passes_on_anothers_pool_is_explored():
    """As a target search's does; isinstance does not see it on every Python."""

    class Passing:
        def __getattr__(self, name):
            return {"warm_start_pool": GENES[DEBUG.name][:3]}[name]

    assert len(warm_start_pool_of(Passing(), DEBUG)) == 3
    assert len(warm_start_pool_of(LinearAccuracy(DEBUG), DEBUG)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.3, 1e-5])
def test_a_range_of_a_large_space_is_met(width):
    """However narrow; the search of a part reaches at least what it was started from."""
    latency = latency_costs(FASHION_LIKE, FakeTable())
    part = frozen_part(FASHION_LIKE, {"kernel": [3, 5], "stage2.depth": [3], "resolution": [20]})
    assert isinstance(part, SpacePart)
    model = latency.at(part)
    high = model.floor() + 0.5 * (model.ceiling() - model.floor())
    predictor = predictor_of_part(LinearAccuracy(FASHION_LIKE, 0, 0.3), part)
    low = {"x": high * (1 - width)}
    problem = SubnetProblem(part, predictor, {"x": model}, {"x": high}, low)
    found = search_subnet(part, predictor, {"x": model}, {"x": high}, 0, minimums=low)
    assert low["x"] <= found.costs["x"] <= high
    assert found.top1 >= predictor.predict(problem.anchor()[None])[0]
    assert found.arch.resolution == 20
    assert found.arch.depth[1] == 3
    assert {kernel for stage in found.arch.kernel for kernel in stage} <= {3, 5}


def test_keys_name_the_genes_that_people_mean():
    assert [place_of(RESNET, gene) for gene in RESNET.genes[:5]] == [
        "resolution", "stem.depth", "stem.width", "stem.width", "stage1.width",
    ]  # fmt: skip
    frozen = read_frozen({"kernel": 3, "stage2.depth": [2.0], "stage1.blocks": ["5x4"]})
    assert frozen == {"kernel": [3], "stage2.depth": [2], "stage1.blocks": ["5x4"]}
    with pytest.raises(InvalidDocument, match="no choice of stage1_block1.kernel is left"):
        frozen_part(DEBUG, frozen)
    del frozen["kernel"]
    part = frozen_part(DEBUG, frozen)
    archs = part.decode(every_network(part))
    assert {(arch.kernel[0], arch.expand[0]) for arch in archs} == {((5,), (4,))}
    assert {arch.depth for arch in archs} == {(1, 2)}
    assert frozen_part(DEBUG, {"kernel": [3, 5]}) is DEBUG
    assert frozen_part(RESNET, {"stage1.blocks": ["0.5"]}).cardinality < RESNET.cardinality


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kernal", 3, r"frozen.kernal: names no gene .* expected one of depth, expand, kernel"),
        ("stage9.kernel", 3, r"frozen\[.stage9.kernel.\]: names no gene"),
        ("kernel", 4, "expected some of 3, 5, got 4"),
        ("kernel", "3", "expected numbers, one or a list, got '3'"),
        ("kernel", [], r"expected numbers, one or a list, got \[\]"),
        ("kernel", True, "got true"),
        ("stage1.blocks", ["5x4"] * 3, "expected 1, 2 blocks, got 3"),
        ("stage1.blocks", ["5"], "expected each block as kernel x expand, such as 5x4, got '5'"),
        ("stage1.blocks", ["5x9"], "stage1_block1.expand: expected one of 3, 4, got 9"),
        ("stage3.blocks", ["5x4"], "names no gene"),
    ],
)
def test_what_cannot_be_kept_is_refused(key, value, message):
    with pytest.raises(InvalidDocument, match=message):
        frozen_part(DEBUG, read_frozen({key: value}))


def test_a_minimum_that_no_network_reaches_names_the_largest():
    latency = latency_costs(DEBUG, FakeTable())
    predictor = LinearAccuracy(DEBUG)
    with pytest.raises(Infeasible, match="but the largest network") as refused:
        search_subnet(DEBUG, predictor, {"x": latency}, {}, 0, minimums={"x": 1e9})
    assert (refused.value.ceiling, refused.value.floor) == (latency.ceiling(), None)

"""Search against brute force: the true optimum, never over a limit, the same every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import Infeasible, InputError, NotFound, SubnetSearchError
from search.costs.costs import CostModel, Factor, latency_costs, macs_costs, params_costs
from search.evolution.effort import EFFORTS
from search.evolution.enumeration import is_small
from search.evolution.local_search import climb
from search.evolution.operators import neighbours
from search.evolution.problem import Evaluator, SubnetProblem
from search.evolution.progress import SearchProgress
from search.evolution.run import search_subnet
from search.pareto import pareto_front
from search.surrogate import fit_additive
from tests.brute import all_genes
from tests.fakes import FakeClock, FakeTable, LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE

GENES = all_genes(DEBUG)
COSTS = {
    "latency_ms": latency_costs(DEBUG, FakeTable()),
    "macs": macs_costs(DEBUG),
    "params": params_costs(DEBUG),
}
VALUES = {name: model.evaluate(GENES) for name, model in COSTS.items()}


def budget(name: str, share: float) -> float:
    """A budget between the floor (0) and the ceiling (1) of a cost."""
    return float(VALUES[name].min() + share * np.ptp(VALUES[name]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("interaction", [0.0, 0.3])
def test_it_finds_the_optimum_of_a_space_it_can_exhaust(seed, interaction):
    predictor = LinearAccuracy(DEBUG, seed, interaction)
    top1 = predictor.predict(GENES)
    for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.8, 1.0):
        limits = {"latency_ms": budget("latency_ms", share)}
        result = search_subnet(DEBUG, predictor, COSTS, limits, seed)
        assert result.top1 == top1[VALUES["latency_ms"] <= limits["latency_ms"]].max()
        assert result.costs["latency_ms"] <= limits["latency_ms"]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_it_finds_the_optimum_under_several_limits(share):
    predictor = LinearAccuracy(DEBUG, 3, 0.3)
    limits = {"latency_ms": budget("latency_ms", share), "params": budget("params", 0.3)}
    met = np.all([VALUES[name] <= limit for name, limit in limits.items()], axis=0)
    result = search_subnet(DEBUG, predictor, COSTS, limits, 0)
    assert result.top1 == predictor.predict(GENES)[met].max()


@pytest.mark.slow
def test_no_limit_at_all():
    predictor = LinearAccuracy(DEBUG)
    best = predictor.predict(GENES).max()
    assert search_subnet(DEBUG, predictor, COSTS, {}, 0).top1 == best
    assert search_subnet(DEBUG, predictor, {}, {}, 0).top1 == best


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
def test_large_spaces_are_searched_to_within_a_percent_of_the_exact_front(share):
    """8.5e19 networks: of an additive predictor the dynamic programme knows the optimum."""
    predictor = LinearAccuracy(FASHION_LIKE, 1)
    latency = latency_costs(FASHION_LIKE, FakeTable())
    limit = latency.floor() + share * (latency.ceiling() - latency.floor())
    sampled = FASHION_LIKE.sample(1500, np.random.default_rng(0))
    surrogate = fit_additive(FASHION_LIKE, sampled, predictor.predict(sampled))
    points = pareto_front(latency.factors, surrogate.factors, FASHION_LIKE.n_choices, width=2000)
    known = predictor.predict(FASHION_LIKE.canonical(points.genes))
    best = known[points.cost + latency.constant <= limit].max()
    result = search_subnet(FASHION_LIKE, predictor, {"x": latency}, {"x": limit}, 0)
    assert result.costs["x"] <= limit
    assert best - result.top1 < 0.01 * np.ptp(known)


@pytest.mark.slow
def test_same_seed_same_bits():
    predictor = LinearAccuracy(FASHION_LIKE, 1, 0.1)
    costs = {"macs": macs_costs(FASHION_LIKE)}
    limits = {"macs": 6e6}
    first, second = (search_subnet(FASHION_LIKE, predictor, costs, limits, 7) for _ in range(2))
    for field in ("arch", "top1", "costs", "evaluations", "generations"):
        assert getattr(first, field) == getattr(second, field)


def test_the_global_generator_is_left_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": 1e5}, 0)
    assert np.random.random() == expected


def test_result_describes_the_network():
    predictor = LinearAccuracy(DEBUG)
    result = search_subnet(DEBUG, predictor, COSTS, {"macs": 1e5}, 5, clock=FakeClock(step_s=0.5))
    assert DEBUG.encode([result.arch]).tolist() == [result.genes.tolist()]
    assert result.top1 == predictor.predict(result.genes[None])[0]
    assert set(result.costs) == set(COSTS)
    assert result.costs["params"] == COSTS["params"].evaluate(result.genes[None])[0]
    assert result.seed == 5
    # One reading at the start, one a generation, one at the end.
    assert result.seconds == 0.5 * (result.generations + 1)


def test_evaluations_count_the_networks_predicted():
    predictor = LinearAccuracy(DEBUG)
    result = search_subnet(DEBUG, predictor, COSTS, {"macs": 1e5}, 0)
    assert predictor.calls == result.evaluations


@pytest.mark.parametrize("name", COSTS)
def test_a_budget_below_the_floor_is_refused_before_searching(name):
    predictor = LinearAccuracy(DEBUG)
    floor = VALUES[name].min()
    with pytest.raises(Infeasible, match=name) as caught:
        search_subnet(DEBUG, predictor, COSTS, {name: floor * (1 - 1e-12)}, 0)
    assert caught.value.floor == floor
    assert predictor.calls == 0
    result = search_subnet(DEBUG, predictor, COSTS, {name: float(floor)}, 0)
    assert result.costs[name] == floor


def test_limits_that_exclude_each_other_are_refused():
    """Two made-up costs of which one falls where the other rises."""
    macs = COSTS["macs"]
    top = macs.ceiling()
    rest = CostModel(
        DEBUG, tuple(Factor(f.name, f.columns, -f.table) for f in macs.factors), 2 * top
    )
    costs = {"macs": macs, "rest": rest}
    predictor = LinearAccuracy(DEBUG)
    with pytest.raises(Infeasible, match="nearest to meeting .* as well"):
        search_subnet(DEBUG, predictor, costs, {"macs": 0.5 * top, "rest": 1.4 * top}, 0)
    assert predictor.calls == 0
    met = search_subnet(DEBUG, predictor, costs, {"macs": 0.7 * top, "rest": 1.4 * top}, 0)
    assert 0.6 * top <= met.costs["macs"] <= 0.7 * top


@pytest.mark.parametrize("shares", [(0.02, 0.05), (0.05, 0.02), (0.01, 0.01), (0.0, 0.0)])
def test_joint_limits_are_decided_like_by_enumeration(shares):
    limits = {
        "latency_ms": budget("latency_ms", shares[0]),
        "params": budget("params", shares[1]),
    }
    met = np.all([VALUES[name] <= limit for name, limit in limits.items()], axis=0)
    problem = SubnetProblem(DEBUG, LinearAccuracy(DEBUG), COSTS, limits)
    if met.any():
        assert problem.feasible(problem.anchor()[None]).all()
    else:
        with pytest.raises(Infeasible):
            problem.anchor()


def test_several_limits_of_a_small_space_are_decided_by_enumeration():
    """Limits that only one size meets: weighted sums of their costs are least at the ends."""
    assert is_small(DEBUG)
    macs = COSTS["macs"]
    rest = CostModel(DEBUG, tuple(Factor(f.name, f.columns, -f.table) for f in macs.factors), 1e9)
    for size in np.unique(VALUES["macs"])[::10].tolist():
        limits = {"macs": size, "rest": 1e9 - size}
        problem = SubnetProblem(DEBUG, LinearAccuracy(DEBUG), {"macs": macs, "rest": rest}, limits)
        assert macs.evaluate(problem.anchor()[None]) == size


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "5", None])
def test_budgets_that_are_no_positive_number_are_refused(value):
    with pytest.raises(InputError, match="macs: expected a"):
        search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": value}, 0)


def test_unknown_limits_are_named():
    with pytest.raises(NotFound, match="did you mean 'latency_ms'"):
        search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"latency": 1.0}, 0)


def test_a_predictor_that_gives_nan_fails_loudly():
    class Broken(LinearAccuracy):
        def predict(self, genes):
            return np.full(len(genes), np.nan)

    with pytest.raises(SubnetSearchError, match="no finite accuracy"):
        search_subnet(DEBUG, Broken(DEBUG), COSTS, {"macs": 1e5}, 0)


@pytest.mark.slow
def test_progress_is_reported_every_generation_and_may_stop_the_search():
    seen: list[SearchProgress] = []
    predictor = LinearAccuracy(FASHION_LIKE, 1, 0.3)
    result = search_subnet(
        FASHION_LIKE, predictor, {}, {}, 0, effort="quick", on_progress=seen.append
    )
    assert [progress.generation for progress in seen] == [*range(1, result.generations + 1)]
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] <= 1
    assert (result.reason == "terminated") == (shares[-1] == 1)
    best = [progress.top1 for progress in seen]
    assert best == sorted(best)
    stalls = 0
    for before, progress in zip(seen, seen[1:], strict=False):
        stalls = 0 if progress.top1 > before.top1 else stalls + 1
        assert progress.stalled_generations in (stalls, before.stalled_generations + 1)

    def cancel(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_subnet(DEBUG, LinearAccuracy(DEBUG), {}, {}, 0, on_progress=cancel)


@pytest.mark.slow
def test_more_effort_is_more_evaluations_and_never_worse_here():
    predictor = LinearAccuracy(FASHION_LIKE, 1, 0.1)
    costs = {"macs": macs_costs(FASHION_LIKE)}
    quick, normal = (
        search_subnet(FASHION_LIKE, predictor, costs, {"macs": 6e6}, 0, effort=effort)
        for effort in ("quick", "normal")
    )
    assert quick.evaluations < normal.evaluations
    assert quick.top1 <= normal.top1
    assert [*EFFORTS] == ["quick", "normal", "thorough"]


def test_several_limits_have_twice_the_work_unless_every_network_meets_them():
    costs = {"macs": macs_costs(FASHION_LIKE), "params": params_costs(FASHION_LIKE)}
    predictor = LinearAccuracy(FASHION_LIKE, interaction=0.3)
    one = {"macs": 1.5 * costs["macs"].floor()}

    def searched(limits):
        return search_subnet(FASHION_LIKE, predictor, costs, limits, 1, effort="quick")

    alone = searched(one)
    both = searched({**one, "params": 1.5 * costs["params"].floor()})
    slack = searched({**one, "params": 2 * costs["params"].ceiling()})
    bred = EFFORTS["quick"].evaluations
    assert both.evaluations > alone.evaluations + bred / 2
    assert (slack.genes == alone.genes).all()
    assert slack.evaluations == alone.evaluations


@pytest.mark.slow
@given(rows=st.sets(st.integers(0, len(GENES) - 1), max_size=8), share=st.floats(0, 1))
@settings(max_examples=15)
def test_a_search_is_never_worse_than_what_is_known(rows, share):
    """For a predictor of which a search learns nothing: only one known network is any good."""
    known = GENES[sorted(rows)]
    limits = {"latency_ms": budget("latency_ms", share)}
    good = {row.tobytes(): 90.0 + n for n, row in enumerate(known)}

    class Needles(LinearAccuracy):
        def predict(self, genes):
            return np.array([good.get(row.tobytes(), 50.0) for row in genes])

    result = search_subnet(DEBUG, Needles(DEBUG), COSTS, limits, 0, effort="quick", known=known)
    met = known[COSTS["latency_ms"].evaluate(known) <= limits["latency_ms"]]
    assert result.top1 >= max([good[row.tobytes()] for row in met], default=50.0)


def test_a_space_without_more_networks_ends_the_search():
    floor = float(VALUES["macs"].min())
    result = search_subnet(DEBUG, LinearAccuracy(DEBUG), COSTS, {"macs": floor}, 0)
    assert result.reason == "exhausted"
    assert result.arch == DEBUG.smallest


def test_climbing_ends_where_no_change_of_one_unit_helps():
    predictor = LinearAccuracy(DEBUG, 2, 0.3)
    limits = {"latency_ms": budget("latency_ms", 0.4)}
    problem = SubnetProblem(DEBUG, predictor, COSTS, limits)
    start = problem.anchor()
    end = climb(Evaluator(problem), start)
    reached = predictor.predict(end[None])[0]
    assert problem.feasible(end[None]).all()
    assert reached > predictor.predict(start[None])[0]
    single = neighbours(DEBUG, end).genes
    assert predictor.predict(single[problem.feasible(single)]).max() <= reached


def test_climbing_exchanges_two_units_where_one_alone_is_too_dear():
    """A knapsack in which only giving up one block's kernel pays for another's."""
    kernels = [DEBUG.column["kernel", s, 0] for s in range(2)]
    spent = [Factor(f"block{n}", (c,), np.array([0.0, 1.0])) for n, c in enumerate(kernels)]
    gained = [Factor(f"block{n}", (c,), np.array([0.0, 1.0 + n])) for n, c in enumerate(kernels)]
    predictor = LinearAccuracy(DEBUG)
    predictor.predict = CostModel(DEBUG, tuple(gained), 50.0).evaluate  # type: ignore[method-assign]
    problem = SubnetProblem(DEBUG, predictor, {"x": CostModel(DEBUG, tuple(spent))}, {"x": 1.0})
    start = GENES[0].copy()
    start[kernels[0]] = 1
    end = climb(Evaluator(problem), start)
    assert [end[c] for c in kernels] == [0, 1]

"""Fronts against their definition on a space that can be enumerated."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Infeasible
from search.costs.costs import latency_costs, macs_costs
from search.evolution.effort import Work
from search.evolution.run import search_subnet
from search.front import Front, answer, front, merged
from search.pareto import non_dominated, pareto_front
from search.surrogate import fit_additive
from tests.brute import all_genes, front_by_definition
from tests.fakes import FakeTable, LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE

GENES = all_genes(DEBUG)
LATENCY = latency_costs(DEBUG, FakeTable())
SMALL = Work(evaluations=2_000, batch=256, capacity=2, slack=0.5)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_non_dominated_is_the_definition(points):
    cost = np.array([cost for cost, _ in points], float)
    value = np.array([value for _, value in points], float)
    kept = non_dominated(cost, value)
    found = list(zip(cost[kept], value[kept], strict=True))
    assert set(found) == front_by_definition(cost, value)
    assert len(set(found)) == len(found)
    assert (np.diff(cost[kept]) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_dynamic_programme_is_exact_with_enough_width(seed):
    """Without evolution: the front of an additive predictor, point by point."""
    predictor = LinearAccuracy(DEBUG, seed)
    surrogate = fit_additive(DEBUG, GENES, predictor.predict(GENES))
    points = pareto_front(LATENCY.factors, surrogate.factors, DEBUG.n_choices, width=10_000)
    genes = DEBUG.canonical(points.genes)
    expected = front_by_definition(LATENCY.evaluate(GENES), predictor.predict(GENES))
    found = zip(LATENCY.evaluate(genes).tolist(), predictor.predict(genes).tolist(), strict=True)
    assert set(found) == expected
    np.testing.assert_allclose(points.cost + LATENCY.constant, LATENCY.evaluate(genes))
    np.testing.assert_allclose(
        points.value + surrogate.constant, predictor.predict(genes), atol=1e-4
    )


def test_thin_sets_keep_the_ends_and_stay_true():
    predictor = LinearAccuracy(FASHION_LIKE, 1)
    model = macs_costs(FASHION_LIKE)
    genes = FASHION_LIKE.sample(1500, np.random.default_rng(0))
    surrogate = fit_additive(FASHION_LIKE, genes, predictor.predict(genes))
    points = pareto_front(model.factors, surrogate.factors, FASHION_LIKE.n_choices, width=16)
    assert len(points.cost) <= 16
    networks = FASHION_LIKE.canonical(points.genes)
    np.testing.assert_allclose(points.cost, model.evaluate(networks))
    assert points.cost[0] == model.floor()
    assert points.value[-1] + surrogate.constant == pytest.approx(surrogate.ceiling())


@pytest.mark.slow
@pytest.mark.parametrize("interaction", [0.0, 0.3])
def test_front_of_a_small_space_is_the_true_one(interaction):
    predictor = LinearAccuracy(DEBUG, 1, interaction)
    points = front(DEBUG, predictor, LATENCY, 0)
    expected = front_by_definition(LATENCY.evaluate(GENES), predictor.predict(GENES))
    found = zip(points.latency_ms.tolist(), points.top1.tolist(), strict=True)
    assert set(found) == expected
    assert (points.latency_ms == LATENCY.evaluate(points.genes)).all()
    assert (np.diff(points.latency_ms) > 0).all()
    assert (np.diff(points.top1) > 0).all()
    assert points.latency_ms[0] == LATENCY.floor()


@pytest.mark.slow
def test_front_is_about_as_good_as_a_search_at_each_budget():
    predictor = LinearAccuracy(FASHION_LIKE, 1, 0.02)
    latency = latency_costs(FASHION_LIKE, FakeTable())
    points = front(FASHION_LIKE, predictor, latency, 0, replace(SMALL, evaluations=12_000))
    span = np.ptp(points.top1)
    for share in (0.01, 0.1, 0.5):
        limit = latency.floor() + share * (latency.ceiling() - latency.floor())
        best = search_subnet(
            FASHION_LIKE, predictor, {"latency_ms": latency}, {"latency_ms": limit}, 0
        )
        index = answer(points, limit)
        assert points.latency_ms[index] <= limit
        assert points.top1[index] > best.top1 - 0.02 * span


@pytest.mark.slow
def test_front_ends_where_a_search_without_a_limit_does():
    """And every budget above the largest network's latency is that search."""
    predictor = LinearAccuracy(FASHION_LIKE, 4, 0.1)
    latency = latency_costs(FASHION_LIKE, FakeTable())
    points = front(FASHION_LIKE, predictor, latency, 0, SMALL)
    ceiling = latency.ceiling()
    found = [
        search_subnet(FASHION_LIKE, predictor, {"ms": latency}, {"ms": budget}, 0)
        for budget in (ceiling, 1.5 * ceiling, 100 * ceiling)
    ]
    assert len({result.arch for result in found}) == 1
    assert points.top1[-1] >= found[0].top1


def test_merged_is_the_front_of_both_by_definition():
    rng = np.random.default_rng(0)
    genes = GENES[rng.permutation(len(GENES))[:40]]
    cost, top1 = LATENCY.evaluate(genes), LinearAccuracy(DEBUG, 1).predict(genes)
    halves = [Front(genes[rows], cost[rows], top1[rows]) for rows in (slice(20), slice(20, 40))]
    both = merged(*halves)
    found = set(zip(both.latency_ms.tolist(), both.top1.tolist(), strict=True))
    assert found == front_by_definition(cost, top1)
    assert (LATENCY.evaluate(both.genes) == both.latency_ms).all()


@pytest.mark.slow
def test_answer_is_the_last_point_within_the_budget():
    points = front(DEBUG, LinearAccuracy(DEBUG), LATENCY, 0, SMALL)
    for budget in np.r_[points.latency_ms, points.latency_ms + 1e-6, 1e9]:
        index = answer(points, float(budget))
        affordable = [n for n in range(len(points)) if points.latency_ms[n] <= budget]
        assert index == max(affordable, key=lambda n: points.top1[n])
    with pytest.raises(Infeasible) as caught:
        answer(points, LATENCY.floor() * 0.999)
    assert caught.value.floor == LATENCY.floor()


@pytest.mark.slow
def test_same_seed_same_front():
    predictor = LinearAccuracy(FASHION_LIKE, 2, 0.1)
    latency = latency_costs(FASHION_LIKE, FakeTable())
    first, second = (front(FASHION_LIKE, predictor, latency, 3, SMALL) for _ in range(2))
    assert (first.genes == second.genes).all()
    assert (first.top1 == second.top1).all()

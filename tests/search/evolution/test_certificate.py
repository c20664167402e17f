"""Certificates hold: against enumeration of whole spaces, for many limits and predictors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.costs.costs import Cost, latency_costs, macs_costs, params_costs
from search.costs.peak_memory import peak_memory_costs
from search.evolution import certificate
from search.evolution.certificate import certify, every_network, upper_bound
from search.evolution.problem import Evaluator, SubnetProblem
from search.evolution.run import search_subnet
from search.evolution.surrogate import AdditivePredictor, fit_additive
from tests.brute import all_genes
from tests.fakes import FakeTable, LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

SPACES = {space.name: space for space in (DEBUG, RESNET)}
GENES = {name: all_genes(space) for name, space in SPACES.items()}


def additive(space, seed):
    """An additive predictor, exact where the fake has no interaction."""
    fake = LinearAccuracy(space, seed)
    genes = space.sample(3000, np.random.default_rng(seed))
    return AdditivePredictor(fake.provenance, fit_additive(space, genes, fake.predict(genes)))


@pytest.mark.parametrize("name", SPACES)
def test_enumeration_is_complete_and_has_no_network_twice(name):
    found = every_network(SPACES[name])
    expected = np.unique(GENES[name], axis=0)
    assert (found == expected).all()
    assert len(found) == SPACES[name].cardinality


@pytest.mark.parametrize("name", SPACES)
def test_a_small_space_is_proved_to_the_point(name):
    space, predictor = SPACES[name], LinearAccuracy(SPACES[name], 1, 0.3)
    latency = latency_costs(space, FakeTable())
    costs, top1 = latency.evaluate(GENES[name]), predictor.predict(GENES[name])
    for limit in np.quantile(costs, [0.05, 0.5, 1.0]).tolist():
        found = search_subnet(space, predictor, {"x": latency}, {"x": limit}, 0).certificate
        assert (found.method, found.bound) == ("enumeration", top1[costs <= limit].max())
        assert found.gap == 0.0


@settings(max_examples=40)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_a_dual_bound_is_never_below_the_true_best(name, seed, share, other):
    space, genes = SPACES[name], GENES[name]
    predictor = additive(space, seed)
    models: dict[str, Cost] = {
        "latency_ms": latency_costs(space, FakeTable()),
        "b": peak_memory_costs(space),
    }
    costs = {key: model.evaluate(genes) for key, model in models.items()}
    limits = {
        key: float(np.quantile(costs[key], at))
        for key, at in zip(models, (share, other), strict=True)
    }
    met = np.all([costs[key] <= limit for key, limit in limits.items()], axis=0)
    if not met.any():
        return
    problem = SubnetProblem(space, predictor, models, limits)
    best = predictor.predict(genes)[met].max()
    bound = certificate._dual(predictor.model, problem.sums)
    assert bound >= best - 1e-9
    assert bound <= predictor.predict(genes).max() + 1e-9


def test_a_dual_bound_is_tight_on_a_large_space():
    """Prices find the convex hull of the front, which is dense where networks are many."""
    predictor = additive(FASHION_LIKE, 0)
    models = {"latency_ms": latency_costs(FASHION_LIKE, FakeTable())}
    macs, params = macs_costs(FASHION_LIKE), params_costs(FASHION_LIKE)
    span = predictor.model.ceiling() - predictor.model.floor()
    for share in (0.1, 0.4, 0.7):
        least, most = models["latency_ms"].floor(), models["latency_ms"].ceiling()
        limits = {"latency_ms": least + share * (most - least)}
        found = search_subnet(FASHION_LIKE, predictor, models, limits, 0)
        assert found.certificate.method == "lagrangian"
        gap = found.certificate.gap
        assert gap is not None
        assert 0 <= gap <= 0.01 * span
    several = {"macs": macs, "params": params, **models}
    limits = {name: (model.floor() + model.ceiling()) / 3 for name, model in several.items()}
    found = search_subnet(FASHION_LIKE, predictor, several, limits, 0)
    assert found.certificate.bound is not None
    assert 0 <= found.certificate.bound - found.top1 <= 0.05 * span


def test_where_nothing_can_be_proved_it_says_so():
    latency = latency_costs(FASHION_LIKE, FakeTable())
    predictor = LinearAccuracy(FASHION_LIKE, 0, 0.3)
    problem = SubnetProblem(FASHION_LIKE, predictor, {"x": latency}, {"x": latency.ceiling()})
    assert upper_bound(Evaluator(problem)) == (None, "none")
    found = certify(Evaluator(problem), 60.0)
    assert found.to_json() == {
        "method": "none", "bound": None, "gap": None, "holds_for": "linear"
    }  # fmt: skip
    assert "none" in found.in_words

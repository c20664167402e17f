"""Fleets against enumeration of every network and every choice of networks."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import Infeasible, InputError
from search.costs.costs import latency_costs, macs_costs, params_costs, scaled
from search.fleet import Member, fewest_covering, search_fleet, search_shared
from tests.brute import all_genes
from tests.fakes import FakeTable, LinearAccuracy
from tests.spaces import DEBUG

GENES = all_genes(DEBUG)
MODELS = [
    latency_costs(DEBUG, FakeTable()),
    scaled(macs_costs(DEBUG), 1e-5),
    scaled(params_costs(DEBUG), 1e-4),
    latency_costs(DEBUG, FakeTable(network_overhead_ms=3.0)),
]


def members(shares):
    """Devices d0, d1, ... with budgets at shares of their models' networks."""
    return {
        f"d{i}": Member(model, float(np.quantile(model.evaluate(GENES), share)))
        for i, (model, share) in enumerate(zip(itertools.cycle(MODELS), shares, strict=False))
    }


def meets(member):
    """Which networks meet a member's budget."""
    return member.latency.evaluate(GENES) <= member.budget_ms


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_one_network_for_all_is_the_best_that_meets_every_budget(seed):
    predictor = LinearAccuracy(DEBUG, seed, 0.3)
    group = members([0.5, 0.6, 0.4])
    found = search_shared(DEBUG, predictor, group, 0)
    met = np.all([meets(member) for member in group.values()], axis=0)
    assert found.top1 == predictor.predict(GENES)[met].max()
    assert found.costs["latency_ms@d1"] <= group["d1"].budget_ms


@pytest.mark.parametrize("loss", [0.0, 1.0, 100.0])
@pytest.mark.slow
def test_the_fewest_networks_of_a_space_it_can_exhaust(loss):
    predictor = LinearAccuracy(DEBUG, 1, 0.3)
    group = members([0.1, 0.9, 0.5, 0.3, 0.8])
    top1 = predictor.predict(GENES)
    able = {name: meets(member) for name, member in group.items()}
    own = {name: top1[met].max() for name, met in able.items()}
    fleet = search_fleet(DEBUG, predictor, group, loss, 0)
    assert sorted(name for share in fleet.shares for name in share.loss) == sorted(group)
    for share in fleet.shares:
        for name, lost in share.loss.items():
            assert lost == pytest.approx(own[name] - share.result.top1)
            assert lost <= loss
            assert group[name].latency.evaluate(share.result.genes[None])[0] <= (
                group[name].budget_ms
            )
    served = {
        frozenset(n for n in group if able[n][i] and top1[i] >= own[n] - loss)
        for i in range(len(GENES))
    }
    fewest = next(
        count
        for count in range(1, 6)
        if any(
            frozenset().union(*sets) == group.keys()
            for sets in itertools.combinations(served, count)
        )
    )
    assert len(fleet.shares) == fewest


@pytest.mark.slow
@given(st.lists(st.frozensets(st.sampled_from("abcdef")), max_size=8))
def test_a_cover_has_the_fewest_sets(sets):
    whole = frozenset().union(*sets)
    chosen = fewest_covering(sets, whole)
    assert frozenset().union(*(sets[i] for i in chosen)) == whole
    for count in range(len(chosen)):
        for fewer in itertools.combinations(sets, count):
            assert frozenset().union(*fewer) != whole


def test_many_devices_are_covered_greedily():
    names = [f"d{i:02}" for i in range(40)]
    sets = [frozenset(names[i : i + 10]) for i in range(0, 40, 5)]
    assert sorted(fewest_covering(sets, frozenset(names))) == [0, 2, 4, 6]


def test_what_cannot_be_met_is_said():
    predictor = LinearAccuracy(DEBUG)
    low = {"slow": Member(MODELS[0], MODELS[0].floor() * 0.9)}
    with pytest.raises(Infeasible, match="latency_ms@slow"):
        search_fleet(DEBUG, predictor, {**members([0.5]), **low}, 1.0, 0)
    with pytest.raises(InputError, match="at least one device"):
        search_shared(DEBUG, predictor, {}, 0)
    with pytest.raises(InputError, match="loss: expected 0 or more"):
        search_fleet(DEBUG, predictor, members([0.5]), float("nan"), 0)

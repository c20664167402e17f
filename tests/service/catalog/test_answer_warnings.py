"""What an answer warns of: budgets that do not limit, and predictors that promise too much."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from search.costs.costs import macs_costs
from search.evolution.run import search_subnet
from service.catalog.answer_warnings import predictor_warnings, search_warnings
from tests.fakes import LinearAccuracy
from tests.service.conftest import DEVICE, SUPERNET, catalog_of
from tests.spaces import DEBUG

FOUND = {"networks": 24, "bias": 1.5, "rmse": 0.4, "interval": 0.7, "confidence": 0.9}


@pytest.fixture
def context(home):
    return catalog_of(home).context(SUPERNET, DEVICE)


def with_predictor(context, card=None, **changes):
    """The same context, its predictor of another provenance."""
    predictor = context.require_predictor()
    changed = replace(predictor, provenance=replace(predictor.provenance, **changes))
    bundle = context.bundle
    bundle = replace(bundle, card={**bundle.card, **({"predictor": card} if card else {})})
    return replace(context, predictor=changed, bundle=bundle)


def budgets_named(context, limits):
    found = search_subnet(context.space, context.require_predictor(), context.costs, limits, 0)
    return [w for w in search_warnings(context, limits, found.arch) if "limit" in w]


@pytest.mark.slow
def test_a_budget_that_limits_is_not_mentioned(context):
    latency = context.costs["latency_ms"]
    assert budgets_named(context, {"latency_ms": 1.3 * latency.floor()}) == []


@pytest.mark.slow
def test_a_budget_above_the_largest_network_is_named_with_its_need(context):
    ceiling = context.costs["latency_ms"].ceiling()
    (warning,) = budgets_named(context, {"latency_ms": 2 * ceiling})
    assert warning.startswith(f"latency_ms {2 * ceiling:g} no longer limits")
    assert f"more than {ceiling:.4g} ms" in warning
    macs, least = context.costs["macs"], context.costs["latency_ms"].floor()
    (warning,) = budgets_named(context, {"latency_ms": 1.3 * least, "macs": macs.ceiling()})
    assert warning.startswith("macs ")


class SmallIsBest(LinearAccuracy):
    """Accuracy falls with size."""

    def predict(self, genes):
        return 90 - macs_costs(self.space).evaluate(genes) / 1e6


def test_budgets_between_the_best_and_the_largest_network_are_named(context):
    contrary = replace(context, predictor=SmallIsBest(DEBUG))
    latency = context.costs["latency_ms"]
    (warning,) = budgets_named(contrary, {"latency_ms": 0.9 * latency.ceiling()})
    assert warning.startswith("the budgets no longer limit: the most accurate network")
    assert f"of {0.9 * latency.ceiling():g}" in warning


def test_ceilings_are_those_of_enumeration(context):
    genes = np.unique(context.space.sample(4000, np.random.default_rng(0)), axis=0)
    for name in ("latency_ms", "macs", "params", "model_bytes", "peak_memory_bytes"):
        cost = context.costs[name]
        assert cost.ceiling() == pytest.approx(cost.evaluate(genes).max())


def test_a_weak_ranking_is_warned_of(context):
    strong = with_predictor(context, found=FOUND, spearman=0.97)
    assert predictor_warnings(strong) == []
    weak = with_predictor(context, found=FOUND, spearman=0.49)
    (warning,) = predictor_warnings(weak)
    assert "ranks networks poorly (Spearman 0.490 on" in warning
    # Networks that were not fitted to count more than those that were.
    unseen = {"unseen": {"spearman": 0.5, "count": 30}}
    (warning,) = predictor_warnings(
        with_predictor(context, card=unseen, found=FOUND, spearman=0.97)
    )
    assert "Spearman 0.500 on 30 unseen networks" in warning


def test_an_error_of_random_networks_is_not_passed_off_as_that_of_found_ones(context):
    (warning,) = predictor_warnings(with_predictor(context, spearman=0.97))
    assert "that of networks drawn at random" in warning
    (warning,) = predictor_warnings(with_predictor(context, spearman=None, rmse=None))
    assert "the error of top1 is unknown" in warning


def test_the_interval_is_stated_for_found_networks(context):
    plain = context.describe(context.space.largest)
    assert "top1_interval" not in plain
    judged = with_predictor(context, found=FOUND)
    interval = judged.describe(context.space.largest)["top1_interval"]
    assert interval["confidence"] == 0.9
    assert interval["high"] - plain["top1"] == pytest.approx(0.7)
    assert plain["top1"] - interval["low"] == pytest.approx(0.7)
    source = judged.provenance()["top1"]
    assert source["expected_error"] == 0.4 != judged.predictor.provenance.rmse
    assert source["interval"] == {"points": 0.7, "confidence": 0.9}


@pytest.mark.slow
def test_the_command_prints_warnings_beside_the_answer(run, context):
    ceiling = context.costs["latency_ms"].ceiling()
    args = ("--supernet", SUPERNET, "--device", DEVICE, "--latency-ms", 9 * ceiling)
    done = run("search", *args, "--json")
    answer = json.loads(done.stdout)
    assert any("no longer limits" in warning for warning in answer["warnings"])
    for warning in answer["warnings"]:
        assert f"warning: {warning}" in done.stderr
    top1 = json.loads(run("front", *args, "--json").stdout)["points"][0]["top1"]
    assert top1 >= answer["top1"]

"""Frames against enumeration, the surrogate against closed forms, the warm start's promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.costs.costs import latency_costs, macs_costs, params_costs
from search.evolution.block_decomposition import BlockDecomposition
from search.evolution.problem import SubnetProblem
from search.evolution.surrogate import fit_additive
from search.evolution.warm_start import WarmStartSettings, warm_start
from tests.brute import all_genes
from tests.fakes import FakeTable, LinearAccuracy
from tests.spaces import DEBUG, FASHION_LIKE, RESNET

GENES = {space.name: all_genes(space) for space in (DEBUG, RESNET)}
SETTINGS = WarmStartSettings(candidates=600, evaluated=100, rounds=3)


@pytest.mark.parametrize("space", [DEBUG, RESNET], ids=lambda space: space.family)
@pytest.mark.parametrize("compile_", [macs_costs, params_costs])
def test_best_under_every_frame_is_that_of_enumeration(space, compile_):
    """The split leaves out what the frame decides, so sums differ by a constant a frame."""
    model, blocks, genes = compile_(space), BlockDecomposition(space), GENES[space.name]
    columns = list(blocks.frame_columns)
    tables = blocks.split(model)
    cost = model.evaluate(genes)
    rows = np.unique(np.where(np.isin(np.arange(genes.shape[1]), columns), genes, 0), axis=0)
    assert len(rows) == np.prod(space.n_choices[columns])
    for sign in (1.0, -1.0):
        found = blocks.minimise(sign * blocks.gather(tables, rows), rows)
        assert (found[:, columns] == rows[:, columns]).all()
        for row, value in zip(found, model.evaluate(found), strict=True):
            alike = (genes[:, columns] == row[columns]).all(axis=1)
            assert value == (sign * cost[alike]).min() * sign


def test_frames_are_what_blocks_share_but_depths():
    assert BlockDecomposition(DEBUG).frame_columns == (0,)
    names = [RESNET.genes[c].name for c in BlockDecomposition(RESNET).frame_columns]
    assert names == ["resolution", "depth", "width", "width", "width", "width"]


@pytest.mark.parametrize("space", [FASHION_LIKE, RESNET], ids=lambda space: space.family)
def test_weights_choose_which_rows_the_surrogate_believes(space):
    """Two predictors, one on each half of the rows: the weighted half decides."""
    rng = np.random.default_rng(0)
    genes, unseen = space.sample(3000, rng), space.sample(500, rng)
    first, second = LinearAccuracy(space, 1), LinearAccuracy(space, 2)
    half = np.arange(3000) < 1500
    top1 = np.where(half, first.predict(genes), second.predict(genes))
    fitted = fit_additive(space, genes, top1, weights=np.where(half, 1.0, 1e-9))
    np.testing.assert_allclose(fitted.evaluate(unseen), first.predict(unseen), atol=1e-2)


def test_a_strong_ridge_stays_at_the_prior():
    rng = np.random.default_rng(0)
    genes, unseen = FASHION_LIKE.sample(1500, rng), FASHION_LIKE.sample(500, rng)
    prior = fit_additive(FASHION_LIKE, genes, LinearAccuracy(FASHION_LIKE, 1).predict(genes))
    other = LinearAccuracy(FASHION_LIKE, 2).predict(genes)
    pulled = fit_additive(FASHION_LIKE, genes, other, ridge=1e9, prior=prior)
    shift = pulled.evaluate(unseen) - prior.evaluate(unseen)
    np.testing.assert_allclose(shift, shift[0], atol=1e-3)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_warm_start_always_has_a_network_within_the_limits(seed, share):
    latency = latency_costs(RESNET, FakeTable())
    limit = latency.floor() + share * (latency.ceiling() - latency.floor())
    predictor = LinearAccuracy(RESNET, 0, 0.3)
    problem = SubnetProblem(RESNET, predictor, {"x": latency}, {"x": limit})
    genes, top1, group, price_C = warm_start(
        problem, problem.evaluate, SETTINGS, np.random.default_rng(seed)
    )
    for number in range(SETTINGS.groups):
        own = genes[group == number]
        assert problem.feasible(own).any()
        assert len(np.unique(own, axis=0)) == len(own)
    assert price_C.shape == (1,)
    assert 0 < price_C[0] < np.inf
    assert (genes == RESNET.canonical(genes)).all()
    assert (genes < RESNET.n_choices).all()
    np.testing.assert_allclose(top1, predictor.predict(genes), rtol=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_a_warm_start_solves_an_additive_predictor(share):
    """To within a percent of the whole span: prices find only corners of the hull."""
    predictor, latency = LinearAccuracy(DEBUG, 1), latency_costs(DEBUG, FakeTable())
    limit = latency.floor() + share * (latency.ceiling() - latency.floor())
    problem = SubnetProblem(DEBUG, predictor, {"x": latency}, {"x": limit})
    genes, top1, group, _ = warm_start(
        problem, problem.evaluate, SETTINGS, np.random.default_rng(0)
    )
    values = predictor.predict(GENES["debug"])
    best = values[latency.evaluate(GENES["debug"]) <= limit].max()
    for number in range(SETTINGS.groups):
        own = problem.feasible(genes) & (group == number)
        assert best - top1[own].max() <= 0.01 * np.ptp(values)


def test_tilted_samples_reach_the_ends_that_uniform_ones_miss():
    costs = macs_costs(FASHION_LIKE)
    uniform = costs.evaluate(FASHION_LIKE.sample(2000, np.random.default_rng(0)))
    tilted_genes = FASHION_LIKE.sample_tilted(2000, 1.5, np.random.default_rng(0))
    tilted = costs.evaluate(tilted_genes)
    assert (tilted_genes == FASHION_LIKE.canonical(tilted_genes)).all()
    assert tilted.min() < uniform.min()
    assert tilted.max() > uniform.max()
    assert np.bincount(tilted_genes[:, 0]).min() > 400

"""A predictor moved to another supernet of its space: a line, against refits and files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.errors import InputError
from models.spaces.files import published_spaces
from search.predictors.files import load_predictor
from search.predictors.gaussian_process_fit import fit_gaussian_process
from search.predictors.mlp import MOBILE_VALID, read_published_mlp
from search.predictors.transfer import MIN_MEASURED, transfer_predictor
from tests.fakes import LinearAccuracy
from tests.search.predictors.test_mlp import network
from tests.spaces import DEBUG

GENES = np.unique(DEBUG.sample(120, np.random.default_rng(0)), axis=0)
NAMES = {"name": "pets", "target": "top-1 on pets"}


@pytest.fixture(scope="module")
def base():
    top1 = LinearAccuracy(DEBUG, seed=1, interaction=0.2).predict(GENES)
    return fit_gaussian_process(DEBUG, GENES, top1, seed=0, target="made up")


def test_two_numbers_are_found_and_kept(base, tmp_path):
    few = GENES[:: len(GENES) // MIN_MEASURED][:MIN_MEASURED]
    moved = transfer_predictor(base, few, 30 + 0.5 * base.predict(few), **NAMES)
    assert np.allclose(moved.predict(GENES), 30 + 0.5 * base.predict(GENES), atol=1e-4)
    assert moved.provenance.rmse == pytest.approx(0, abs=1e-4)
    assert (moved.provenance.space, moved.provenance.count) == ("pets", MIN_MEASURED)
    assert "the predictor of debug, times 0.500" in moved.provenance.method
    moved.save(tmp_path / "predictor.safetensors")
    adapted = replace(DEBUG, name="pets", classes=3)
    loaded = load_predictor(tmp_path / "predictor.safetensors", adapted)
    assert (loaded.predict(GENES) == moved.predict(GENES)).all()


def test_the_error_is_that_of_refits_without_each(base):
    genes, rng = GENES[:20], np.random.default_rng(0)
    top1 = 20 + 0.7 * base.predict(genes) + rng.standard_normal(20)
    left_out = []
    for row in range(20):
        others = np.arange(20) != row
        refit = transfer_predictor(base, genes[others], top1[others], **NAMES)
        left_out.append(float(refit.predict(genes[[row]])[0]) - top1[row])
    expected = float(np.sqrt(np.mean(np.square(left_out))))
    found = transfer_predictor(base, genes, top1, **NAMES).provenance.rmse
    assert found == pytest.approx(expected, rel=1e-3)


def test_an_order_that_is_turned_round_is_taken_for_chance(base):
    genes = GENES[:20]
    moved = transfer_predictor(base, genes, 90 - base.predict(genes) / 2, **NAMES)
    assert np.ptp(moved.predict(GENES)) < 1e-4
    with pytest.raises(InputError, match=f"at least {MIN_MEASURED} networks, got 3"):
        transfer_predictor(base, genes[:3], base.predict(genes[:3]), **NAMES)


def test_a_published_predictor_is_moved_exactly():
    space = published_spaces()["ofa-mbv3-w1.2"].at(MOBILE_VALID)
    published = read_published_mlp(network(128, based=True)[1], space, "made up")
    genes = space.sample(50, np.random.default_rng(0))
    moved = published.rescaled(0.8, 7.0, published.provenance)
    expected = 0.8 * published.predict(genes) + 7.0
    assert np.allclose(moved.predict(genes), expected, atol=1e-3)

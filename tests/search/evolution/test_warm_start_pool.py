"""What exploring a predictor leaves behind, and what later searches make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.bundle.card import PREDICTOR
from models.errors import CorruptBundle
from models.spaces.files import published_spaces
from search.costs.costs import macs_costs
from search.evolution import warm_start_pool
from search.evolution.effort import Work
from search.evolution.run import search_subnet
from search.evolution.warm_start_pool import build_warm_start_pool
from search.predictors.files import load_predictor
from search.predictors.mlp import MOBILE_VALID, _translate, read_published_mlp
from search.predictors.protocol import warm_start_pool_of
from service.catalog.supernets.importing import import_supernet
from tests.brute import all_genes
from tests.fakes import LinearAccuracy
from tests.search.predictors.test_mlp import network
from tests.spaces import DEBUG, FASHION_LIKE

MOBILE = published_spaces()["ofa-mbv3-w1.2"]


SHORT = Work(evaluations=600, batch=200, capacity=1, slack=0.5)
"""A fraction of the work on each made-up device."""


@pytest.fixture(scope="module")
def explored():
    predictor = read_published_mlp(network(128, False)[1], MOBILE, "a test")
    shares: list[float] = []
    pool = build_warm_start_pool(predictor, 3, shares.append, SHORT)
    assert shares == [1 / 3, 2 / 3, 1.0]
    return replace(predictor, warm_start_pool=pool)


@pytest.mark.slow
def test_a_pool_is_of_distinct_networks(explored):
    pool, space = explored.warm_start_pool, explored.space
    assert len(pool) >= 3
    assert (pool == space.canonical(pool)).all()
    assert (pool < space.n_choices).all()
    assert len(np.unique(pool, axis=0)) == len(pool)
    assert build_warm_start_pool(explored, 0).shape == (0, len(space.genes))


@pytest.mark.slow
def test_a_pool_is_the_same_on_one_core_and_whatever_was_explored_before(explored, monkeypatch):
    """Else a second exploration would only confirm the first."""
    monkeypatch.setattr(warm_start_pool, "cores", lambda: 1)
    assert (build_warm_start_pool(explored, 3, work=SHORT) == explored.warm_start_pool).all()


class Explored(LinearAccuracy):
    """A predictor with a warm-start pool."""

    def __init__(self, pool: np.ndarray) -> None:
        super().__init__(FASHION_LIKE)
        self.warm_start_pool = pool


class Needle(Explored):
    """A hundred points more for one network that none near it predicts."""

    def __init__(self, pool: np.ndarray) -> None:
        super().__init__(pool)
        self.needle = FASHION_LIKE.sample(1, np.random.default_rng(5))

    def predict(self, genes):
        return super().predict(genes) + 100.0 * (genes == self.needle).all(axis=1)


@pytest.mark.slow
def test_a_search_finds_what_is_near_a_network_of_the_pool():
    needle = Needle(np.empty((0, len(FASHION_LIKE.genes)), np.uint8))
    macs = macs_costs(FASHION_LIKE)
    limit = {"macs": 1.001 * float(macs.evaluate(needle.needle)[0])}
    alone = search_subnet(FASHION_LIKE, needle, {"macs": macs}, limit, 0)
    assert (alone.genes != needle.needle).any()
    found = search_subnet(FASHION_LIKE, Needle(needle.needle), {"macs": macs}, limit, 0)
    assert (found.genes == needle.needle).all()
    assert found.top1 > alone.top1


def test_translated_rows_are_the_same_networks():
    rows = all_genes(DEBUG)
    part = DEBUG.at(DEBUG.resolutions[-1:])
    carried = _translate(rows, DEBUG, part)
    expected = [arch for arch in DEBUG.decode(rows) if arch.resolution in part.resolutions]
    assert part.decode(carried) == expected
    assert (_translate(rows, DEBUG, DEBUG) == rows).all()


def test_a_file_keeps_the_pool_and_a_part_of_the_space_has_its_part_of_it(explored, tmp_path):
    explored.save(tmp_path / "p.safetensors")
    again = load_predictor(tmp_path / "p.safetensors", MOBILE.at(explored.provenance.resolutions))
    assert (warm_start_pool_of(again, explored.space) == explored.warm_start_pool).all()
    sizes = [arch.resolution for arch in explored.space.decode(explored.warm_start_pool)]
    space = MOBILE.at(sizes[:1])
    part = load_predictor(tmp_path / "p.safetensors", space)
    assert len(warm_start_pool_of(part, space)) == sizes.count(sizes[0])


NOT_NETWORKS = {
    "a choice too many": np.full((1, 46), 9, np.uint8),
    "too few genes": np.zeros((2, 3), np.uint8),
    "fractions": np.zeros((1, 46), np.float32),
    "no matrix": np.zeros(46, np.uint8),
    "a number": np.zeros((), np.uint8),
}


@pytest.mark.parametrize("wrong", NOT_NETWORKS.values(), ids=NOT_NETWORKS)
def test_a_pool_of_no_networks_is_refused(explored, wrong, tmp_path):
    replace(explored, warm_start_pool=wrong).save(tmp_path / "p.safetensors")
    with pytest.raises(CorruptBundle, match="elites are not networks"):
        load_predictor(tmp_path / "p.safetensors", explored.space)


@pytest.mark.slow
def test_an_imported_predictor_is_explored(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_start_pool, "WORK", SHORT)
    path = tmp_path / "predictor.pth"
    torch.save({k: torch.from_numpy(v) for k, v in network(128, False)[1].items()}, path)
    bundle = import_supernet(tmp_path, "ofa-mbv3-w1.2", None, predictor=path, searches=1)
    whole = MOBILE.at(MOBILE_VALID)
    assert len(warm_start_pool_of(load_predictor(bundle.path / PREDICTOR, whole), whole)) > 1

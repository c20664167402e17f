"""What exploring a predictor leaves behind, and what later searches make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import CorruptBundle
from models.spaces.files import published_spaces
from search.costs.costs import macs_costs
from search.evolution.problem import SubnetProblem
from search.evolution.run import search_subnet
from search.evolution.warm_start import WarmStartSettings, warm_start
from search.evolution.warm_start_pool import find_elites
from search.predictors.mlp import MOBILE_VALID, from_published
from search.predictors.predictor import carry_over, elites_of, load_predictor
from service.catalog.supernets.importing import import_supernet
from tests.brute import all_genes
from tests.fakes import LinearAccuracy
from tests.search.predictors.test_mlp import network
from tests.spaces import DEBUG, FASHION_LIKE

MOBILE = published_spaces()["ofa-mbv3-w1.2"]


@pytest.fixture(scope="module")
def explored():
    predictor = from_published(network(128, False)[1], MOBILE, "a test")
    shares: list[float] = []
    elites = find_elites(predictor, 4, shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    return replace(predictor, elites=elites)


def test_elites_are_distinct_networks_and_the_same_every_time(explored):
    elites, space = explored.elites, explored.space
    assert 1 <= len(elites) <= 4
    assert (elites == space.canonical(elites)).all()
    assert (elites < space.n_choices).all()
    assert len(np.unique(elites, axis=0)) == len(elites)
    assert (find_elites(replace(explored, elites=elites[:0]), 4) == elites).all()
    assert find_elites(explored, 0).shape == (0, len(space.genes))


def test_exploring_does_not_look_at_earlier_elites(explored, monkeypatch):
    """Else a second exploration would only confirm the first."""
    seen: list[int] = []

    def watched(space, predictor, *rest, **named):
        seen.append(len(predictor.elites))
        return search_subnet(space, predictor, *rest, **named)

    monkeypatch.setattr("search.evolution.warm_start_pool.search_subnet", watched)
    assert (find_elites(replace(explored, elites=explored.elites[:0]), 2)).tolist() == find_elites(
        explored, 2
    ).tolist()
    assert seen == [0, 0, 0, 0]


class Told(LinearAccuracy):
    """A predictor with elites."""

    def __init__(self, elites: np.ndarray) -> None:
        super().__init__(FASHION_LIKE)
        self.elites = elites


class Needle(Told):
    """A hundred points more for one network that nothing near it tells of."""

    def __init__(self, elites: np.ndarray) -> None:
        super().__init__(elites)
        self.needle = FASHION_LIKE.sample(1, np.random.default_rng(5))

    def predict(self, genes):
        return super().predict(genes) + 100.0 * (genes == self.needle).all(axis=1)


def test_a_search_finds_what_an_elite_tells_of():
    needle = Needle(np.empty((0, len(FASHION_LIKE.genes)), np.uint8))
    macs = macs_costs(FASHION_LIKE)
    limit = {"macs": 1.001 * float(macs.evaluate(needle.needle)[0])}
    alone = search_subnet(FASHION_LIKE, needle, {"macs": macs}, limit, 0)
    assert (alone.genes != needle.needle).any()
    told = search_subnet(FASHION_LIKE, Needle(needle.needle), {"macs": macs}, limit, 0)
    assert (told.genes == needle.needle).all()
    assert told.top1 > alone.top1


@pytest.mark.parametrize("over", [0.05, 0.6])
def test_elites_join_every_group_unless_they_are_far_over_a_limit(over):
    space, macs = FASHION_LIKE, macs_costs(FASHION_LIKE)
    predictor = Told(space.sample(1, np.random.default_rng(3)))
    limit = float(macs.evaluate(predictor.elites)[0]) / (1 + over)
    problem = SubnetProblem(space, predictor, {"macs": macs}, {"macs": limit})
    settings = WarmStartSettings(candidates=50, judged=40, groups=3)
    start = warm_start(problem, problem.evaluate, settings, np.random.default_rng(0))
    is_elite = (start.genes == predictor.elites).all(axis=1)
    assert start.group[is_elite].tolist() == ([0, 1, 2] if over <= settings.elites_over else [])
    np.testing.assert_allclose(start.top1, predictor.predict(start.genes), rtol=1e-12)


def test_carried_over_rows_are_the_same_networks():
    rows = all_genes(DEBUG)
    part = DEBUG.at(DEBUG.resolutions[-1:])
    carried = carry_over(rows, DEBUG, part)
    expected = [arch for arch in DEBUG.decode(rows) if arch.resolution in part.resolutions]
    assert part.decode(carried) == expected
    assert (carry_over(rows, DEBUG, DEBUG) == rows).all()


def test_a_file_keeps_the_elites_and_answers_for_a_part_with_those_it_has(explored, tmp_path):
    explored.save(tmp_path / "p.safetensors")
    again = load_predictor(tmp_path / "p.safetensors", MOBILE.at(explored.provenance.resolutions))
    assert (elites_of(again, explored.space) == explored.elites).all()
    sizes = [arch.resolution for arch in explored.space.decode(explored.elites)]
    space = MOBILE.at(sizes[:1])
    part = load_predictor(tmp_path / "p.safetensors", space)
    assert len(elites_of(part, space)) == sizes.count(sizes[0])


NOT_NETWORKS = {
    "a choice too many": np.full((1, 46), 9, np.uint8),
    "too few genes": np.zeros((2, 3), np.uint8),
    "fractions": np.zeros((1, 46), np.float32),
    "no matrix": np.zeros(46, np.uint8),
    "a number": np.zeros((), np.uint8),
}


@pytest.mark.parametrize("wrong", NOT_NETWORKS.values(), ids=NOT_NETWORKS)
def test_elites_that_are_no_networks_are_refused(explored, wrong, tmp_path):
    replace(explored, elites=wrong).save(tmp_path / "p.safetensors")
    with pytest.raises(CorruptBundle, match="elites are not networks"):
        load_predictor(tmp_path / "p.safetensors", explored.space)


def test_an_imported_predictor_is_explored(tmp_path):
    path = tmp_path / "predictor.pth"
    torch.save({k: torch.from_numpy(v) for k, v in network(128, False)[1].items()}, path)
    bundle = import_supernet(tmp_path, "ofa-mbv3-w1.2", None, predictor=path, searches=1)
    whole = MOBILE.at(MOBILE_VALID)
    assert len(elites_of(load_predictor(bundle.predictor_path, whole), whole)) == 1

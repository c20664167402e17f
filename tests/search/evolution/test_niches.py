"""Niches against their definitions, on a space whose networks can all be listed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.costs.costs import macs_costs
from search.evolution.breeding import breed
from search.evolution.effort import Work
from search.evolution.niches import CHEAPER_SLACK, Niches, Shape
from tests.brute import all_genes
from tests.fakes import LinearAccuracy
from tests.spaces import DEBUG

GENES = all_genes(DEBUG)
MACS = macs_costs(DEBUG)
BUDGET = float(np.median(MACS.evaluate(GENES)))


LOWEST, LEVELS = -6, 11
"""Of the shape below."""


def load(genes):
    return MACS.evaluate(genes) / BUDGET - 1


def niches_of(capacity=2, batch=40, slopes=None, low=-0.3, high=0.2):
    shape = Shape(low=low, high=high, width=0.05, capacity=capacity)
    return Niches(DEBUG, load, shape, batch, np.random.default_rng(0), slopes)


def kept_by_definition(genes, top1, slack, capacity):
    """The rows that a population keeps, by the words of the module, one network after the other."""
    loads = load(genes)
    level = [max(int(np.ceil(value / 0.05)), LOWEST) for value in loads]
    inside = [n for n in range(len(genes)) if loads[n] <= 0.2]
    kept: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for n in inside:
        best = max(top1[m] for m in inside if level[m] <= level[n])
        cheaper = [
            top1[m]
            for m in inside
            if genes[m, 0] == genes[n, 0]
            and level[m] < level[n]
            and top1[m] >= max(top1[k] for k in inside if level[k] <= level[m]) - slack
        ]
        if (
            top1[n] >= best - slack
            and top1[n] >= max(cheaper, default=-np.inf) - CHEAPER_SLACK * slack
        ):
            kept.setdefault((genes[n, 0], level[n]), []).append((-top1[n], n))
    return {
        genes[n].tobytes()
        for (_, at), niche in kept.items()
        for _, n in sorted(niche)[: capacity * (LEVELS if at == LOWEST else 1)]
    }


@pytest.mark.slow
@given(
    st.sets(st.integers(0, len(GENES) - 1), min_size=1, max_size=40),
    st.integers(0, 9), st.floats(0.01, 3), st.integers(1, 3),
)  # fmt: skip
def test_those_are_kept_that_the_definition_keeps(rows, seed, slack, capacity):
    genes = GENES[sorted(rows)]
    top1 = np.random.default_rng(seed).permutation(np.linspace(60, 64, len(genes)))
    niches = niches_of(capacity)
    niches.tell(genes, top1, slack)
    assert {row.tobytes() for row in niches.genes} == kept_by_definition(
        genes, top1, slack, capacity
    )
    if (load(genes) <= 0).any():
        assert niches.best_within(0.0)[1] == top1[load(genes) <= 0].max()


def test_no_network_is_asked_about_twice_and_none_over_the_window():
    predictor, niches = LinearAccuracy(DEBUG), niches_of()
    genes = niches.new(GENES[::29])
    niches.tell(genes, predictor.predict(genes), np.inf)
    asked = {row.tobytes() for row in genes}
    work = Work(evaluations=300, batch=40, capacity=2, slack=1.0)

    def evaluate(rows):
        keys = {row.tobytes() for row in rows}
        assert len(keys) == len(rows)
        assert not keys & asked
        assert (load(rows) <= 0.2).all()
        assert (rows == DEBUG.canonical(rows)).all()
        asked.update(keys)
        return predictor.predict(rows)

    shares = list(breed(niches, evaluate, work, 1.0))
    assert shares == sorted(shares)
    assert len(asked) > 150


def test_all_resolutions_keep_networks_while_the_slack_lasts():
    """A resolution that is behind is not displaced before the slack says so."""
    niches = niches_of()
    top1 = np.where(GENES[:, 0] == 0, 60.0, 61.0) + np.linspace(0, 0.1, len(GENES))
    niches.tell(GENES, top1, 2.0)
    assert set(niches.genes[:, 0].tolist()) == {0, 1}
    niches.tell(GENES[:0], np.empty(0), 0.5)
    cheap = niches.load < niches.load[niches.genes[:, 0] == 1].min()
    assert set(niches.genes[~cheap, 0].tolist()) == {1}


def test_children_with_the_best_estimates_are_evaluated():
    """Children are better on average with slopes that say what a gene adds."""
    predictor = LinearAccuracy(DEBUG, 1)
    gains = np.zeros((len(DEBUG.genes), 2), np.float32)
    for column in range(len(DEBUG.genes)):
        high, low = (
            predictor.predict(GENES[(GENES[:, column] == value) & DEBUG.active(GENES)[:, column]])
            for value in (1, 0)
        )
        gains[column, 1] = high.mean() - low.mean()

    def mean_top1(slopes):
        niches = niches_of(slopes=slopes, batch=8, low=0.0, high=10.0)
        genes = niches.new(GENES[::97])
        niches.tell(genes, predictor.predict(genes), np.inf)
        return predictor.predict(niches.ask(10.0)).mean()

    assert mean_top1(lambda genes: np.tile(gains, (len(genes), 1, 1))) > mean_top1(None)

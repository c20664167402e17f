"""`search.evolution.slope_screening` against summing slopes one gene at a time."""

import numpy as np
import pytest

from search.evolution.slope_screening import SlopeScreening
from tests.spaces import DEBUG


def slopes(genes):
    """Different at every network, deterministic."""
    rows = [np.random.default_rng(row.tolist()).normal(size=(len(row), 2)) for row in genes]
    return np.array(rows, np.float32).reshape(len(genes), len(DEBUG.genes), 2)


def test_estimates_are_sums_over_active_genes():
    rng = np.random.default_rng(0)
    parents, made = DEBUG.sample(6, rng), DEBUG.sample(40, rng)
    top1, parent = rng.random(6), rng.integers(0, 6, 40)
    screening = SlopeScreening(DEBUG, slopes)
    screening.set_parents(parents, top1, np.full(6, -1))
    # A part of them survives, one is new.
    kept = np.array([4, 1, 0])
    parents = np.vstack([parents[kept], DEBUG.sample(1, rng)])
    top1, parent = np.append(top1[kept], 0.5), parent % 4
    screening.set_parents(parents, top1, np.append(kept, -1))

    def summed(row, table):
        active = DEBUG.active(row[None])[0]
        return sum(table[g, c] for g, c in enumerate(row) if active[g])

    for row, p, found in zip(made, parent, screening.estimate(made, parent), strict=True):
        table = slopes(parents[p : p + 1])[0]
        expected = top1[p] + summed(row, table) - summed(parents[p], table)
        assert found == pytest.approx(expected, abs=1e-5)


def test_slopes_are_computed_once_for_each_parent():
    counts: list[int] = []

    def counted(genes):
        counts.append(len(genes))
        return slopes(genes)

    screening = SlopeScreening(DEBUG, counted)
    genes = DEBUG.sample(5, np.random.default_rng(0))
    screening.set_parents(genes, np.zeros(5), np.full(5, -1))
    screening.set_parents(genes[[3, 1]], np.zeros(2), np.array([3, 1]))
    assert counts == [5, 0]

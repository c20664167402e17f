"""The whole trade-off of a device: every budget answered from one table.

1. An additive surrogate of the predictor is fitted on random networks.
2. Its exact front is found by dynamic programming over the factors of latency.
3. The true predictor judges those networks and, round by round, their neighbours that the
   surrogate finds promising; it is fitted again with what was learnt, and step 2 repeats.

Shapes: N architectures, P points of the front, G genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.errors import Infeasible, InputError
from models.space import GeneMatrix, SearchSpace
from search.costs import CostModel, Factor, Floats
from search.operators import neighbours
from search.pareto import non_dominated, pareto_front
from search.predictor import AccuracyPredictor
"""Promising neighbours judged in a round."""


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Networks that none betters in both, by rising latency and rising accuracy."""

    genes: GeneMatrix
    """(P, G), canonical."""
    latency_ms: Floats
    """(P,)"""
    top1: Floats
    """(P,), predicted, percent."""

    def __len__(self) -> int:
        return len(self.latency_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """How much work a front takes."""

    samples: int = 2000
    """Random networks that the first surrogate is fitted on."""
    rounds: int = 3
    """Times that the surrogate is fitted and its front computed."""
    exchanges: int = 3
    """Times in a round that neighbours of the front are tried."""
    candidates: int = 600
    """Neighbours judged each time."""
    width: int = 128
    """Points of a set in the dynamic programme."""


DEFAULT_SETTINGS = FrontSettings()


def front(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    latency: CostModel,
    seed: int,
    settings: FrontSettings = DEFAULT_SETTINGS,
) -> Front:
    """The trade-off between latency and predicted accuracy, from the floor of the space up."""
    rng = np.random.default_rng(seed)
    genes = np.vstack([space.sample(settings.samples, rng), latency.floor_genes])
    genes = np.unique(genes, axis=0)
    top1 = predictor.predict(genes)
    cost = latency.evaluate(genes)
    seen = {row.tobytes() for row in genes}

    def judge(rows: GeneMatrix) -> None:
        nonlocal genes, top1, cost
        fresh = [row for row in np.unique(rows, axis=0) if row.tobytes() not in seen]
        if fresh:
            seen.update(row.tobytes() for row in fresh)
            genes = np.vstack([genes, fresh])
            top1 = np.concatenate([top1, predictor.predict(genes[len(top1) :])])
            cost = np.concatenate([cost, latency.evaluate(genes[len(cost) :])])

    for _ in range(settings.rounds):
        surrogate = additive_fit(space, genes, top1)
        found = pareto_front(latency.factors, surrogate.factors, space.n_choices, settings.width)
        judge(space.canonical(found.genes))
        for _ in range(settings.exchanges):
            best = non_dominated(cost, top1)
            around = [neighbours(space, row).genes for row in genes[best]]
            rows = np.vstack(around)
            parent = np.repeat(best, [len(item) for item in around])
            # Where the surrogate errs, it mostly errs alike for a network and its neighbour.
            bias = top1[best] - surrogate.evaluate(genes[best])
            promised = surrogate.evaluate(rows) + np.repeat(bias, [len(item) for item in around])
            rows_cost = latency.evaluate(rows)
            at = np.searchsorted(cost[best], rows_cost, side="right") - 1
            gain = promised - top1[best][at]
            ranked = np.argsort(-gain, kind="stable")[: settings.candidates]
            judge(rows[ranked][gain[ranked] > 0])
    best = non_dominated(cost, top1)
    return Front(genes[best], cost[best], top1[best])

"""The whole trade-off of a device between latency and accuracy, which answers every budget.

1. An additive surrogate of the predictor is fitted to random networks. Its exact front is found by
   dynamic programming over the factors of latency.
2. From it, and from the predictor's warm-start pool, the whole range of latency is bred.
3. A search without a limit adds what it finds: the front ends where such a search does.

Shapes: P points of the front, G genes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.errors import Infeasible
from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, Floats
from search.evolution import (
    WholeRange,
    Work,
    one_blas_thread,
    search_subnet,
)
from search.pareto import non_dominated, pareto_front
from search.predictors import AccuracyPredictor, warm_start_pool_of
from search.surrogate import fit_additive

WORK = Work(evaluations=50_000, batch=1024, capacity=4, slack=0.25)
THIN = 256
"""Most points of a set in the dynamic program."""
KNOWN = 64
"""Networks of the largest resolution and latency that the search for the end starts from."""


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Non-dominated networks, by rising latency and rising accuracy."""

    genes: GeneMatrix
    """(P, G), canonical."""
    latency_ms: Floats
    """(P,)"""
    top1: Floats
    """(P,), predicted, percent."""

    def __len__(self) -> int:
        return len(self.latency_ms)

    def __getitem__(self, rows: slice) -> Front:
        return Front(self.genes[rows], self.latency_ms[rows], self.top1[rows])


def front(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    latency: CostModel,
    seed: int,
    work: Work = WORK,
    on_share: Callable[[float], None] = lambda _: None,
) -> Front:
    """The trade-off between latency and predicted accuracy, from the floor of the space up.

    BLAS has one thread in this process from then on (`search.evolution.threads`).

    Args:
        seed: of the only random generator; the same seed gives the same front, bit for bit.
        on_share: called after each generation with the share done, 0..1.
    """
    one_blas_thread()

    rng = np.random.default_rng(seed)
    whole = WholeRange(predictor, latency, latency.ceiling(), work, rng)
    surrogate = fit_additive(space, whole.sampled, whole.sampled_top1)
    points = pareto_front(latency.factors, surrogate.factors, space.n_choices, THIN)
    pool = warm_start_pool_of(predictor, space)
    whole.add(whole.niches.new(np.vstack([space.canonical(points.genes), pool])))
    whole.breed(on_share)
    known = whole.niches.genes[-KNOWN:]
    end = search_subnet(space, predictor, {}, {}, seed, effort="quick", known=known)
    whole.add(end.genes[None])
    genes, cost, top1 = whole.evaluated()
    best = non_dominated(cost, top1)
    return Front(genes[best], cost[best], top1[best])


def merged(points: Front, others: Front) -> Front:
    """The front of both together."""
    genes = np.vstack([points.genes, others.genes])
    cost = np.concatenate([points.latency_ms, others.latency_ms])
    top1 = np.concatenate([points.top1, others.top1])
    best = non_dominated(cost, top1)
    return Front(genes[best], cost[best], top1[best])


def answer(points: Front, budget_ms: float) -> int:
    """Index of the most accurate point within `budget_ms`.

    Raises:
        Infeasible: if even the first point is slower.
    """
    index = int(np.searchsorted(points.latency_ms, budget_ms, side="right")) - 1
    if index < 0:
        raise Infeasible("latency_ms", budget_ms, float(points.latency_ms[0]))
    return index

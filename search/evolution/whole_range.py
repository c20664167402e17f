"""Breeding over the whole range of a cost: what a front and an exploration are made from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.spaces import GeneMatrix
from search.costs import CostModel, Floats
from search.evolution.breeding import breed
from search.evolution.effort import Work
from search.evolution.niches import Niches, Shape
from search.predictors import AccuracyPredictor, slopes_of

SAMPLES = 1000
"""Random networks evaluated at first."""
TILT = 1.5
"""Spread of their tilts (`SearchSpace.sample_tilted`)."""
WIDTH = 0.01
"""Of a niche, of the logarithm of the cost."""


class WholeRange:
    """Networks from the least `cost` of a space to `most`, and the front of all evaluated."""

    def __init__(
        self,
        predictor: AccuracyPredictor,
        cost: CostModel,
        most: float,
        work: Work,
        rng: np.random.Generator,
    ) -> None:
        self._predictor, self._cost, self._work = predictor, cost, work
        floor = cost.floor()

        def load(genes: GeneMatrix) -> Floats:
            return np.log(cost.evaluate(genes) / floor)

        high = float(np.log(most / floor))
        shape = Shape(low=0.0, high=high, width=WIDTH, capacity=work.capacity)
        self.niches = Niches(cost.space, load, shape, work.batch, rng, slopes_of(predictor))
        self._genes, self._top1 = [cost.floor_genes[None][:0]], [np.empty(0)]
        self.sampled = self.niches.new(
            np.vstack([cost.floor_genes, cost.space.sample_tilted(SAMPLES, TILT, rng)])
        )
        """Random networks and the cheapest, evaluated at first, (N, G)."""
        self.sampled_top1 = self.add(self.sampled)

    def add(self, genes: GeneMatrix) -> Floats:
        """Evaluate networks that are to be bred from; their accuracies, percent, (N,)."""
        top1 = self._evaluate(genes)
        self.niches.tell(genes, top1, np.inf)
        return top1

    def breed(self, on_share: Callable[[float], None] = lambda _: None) -> None:
        """Do the work; `on_share` is called after each generation with the share done, 0..1."""
        spread = float(self.sampled_top1.std())
        for share in breed(self.niches, self._evaluate, self._work, spread):
            on_share(share)

    def _evaluate(self, genes: GeneMatrix) -> Floats:
        top1 = self._predictor.predict(genes)
        self._genes.append(genes)
        self._top1.append(top1)
        return top1

    def evaluated(self) -> tuple[GeneMatrix, Floats, Floats]:
        """Every network evaluated, its cost and its accuracy: (N, G), (N,) and (N,)."""
        genes = np.vstack(self._genes)
        return genes, self._cost.evaluate(genes), np.concatenate(self._top1)

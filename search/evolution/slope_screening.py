"""Estimates of children's accuracies from the predictor's slopes at their parents.

The slopes at one network cost about as much as two predictions and estimate every change of it. So
many children can be screened for each that is evaluated.

Shapes: P parents, N children, G genes, K choices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats

Slopes = Callable[[GeneMatrix], npt.NDArray[np.float32]]
"""`search.predictors.protocol.Sloped.slopes`."""


class SlopeScreening:
    """The slopes at the parents of an evolution, computed once for each parent."""

    def __init__(self, space: SearchSpace, slopes: Slopes) -> None:
        self.space, self._slopes = space, slopes
        max_choices = int(space.n_choices.max())
        self._first_G = np.arange(len(space.genes)) * max_choices
        self._slopes_PGK = np.empty((0, len(space.genes), max_choices), np.float32)
        self._intercept_P: Floats = np.empty(0)

    def set_parents(self, genes: GeneMatrix, top1: Floats, old_index: npt.NDArray[np.intp]) -> None:
        """Replace the parents.

        Args:
            genes, top1: the parents and their accuracies, percent, (P, G) and (P,).
            old_index: row of each among the parents so far, -1 for new ones, (P,).
        """
        new = old_index < 0
        slopes_PGK = (
            self._slopes_PGK[old_index]
            if len(self._slopes_PGK)
            else np.empty((len(genes), *self._slopes_PGK.shape[1:]), np.float32)
        )
        slopes_PGK[new] = self._slopes(genes[new])
        self._slopes_PGK = slopes_PGK
        self._intercept_P = top1 - self._sum(genes, np.arange(len(genes)))

    def estimate(self, children: GeneMatrix, parent: npt.NDArray[np.intp]) -> Floats:
        """Accuracy of each child by the slopes at its parent, percent, (N,)."""
        top1: Floats = self._intercept_P[parent] + self._sum(children, parent)
        return top1

    def _sum(self, genes: GeneMatrix, parent: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Sum of the parent's slopes over the active genes of each row, (N,)."""
        size = self._slopes_PGK[0].size if len(parent) else 0
        at_NG = genes + self._first_G + (parent * size)[:, None]
        summed: npt.NDArray[np.float32] = np.einsum(
            "ng,ng->n", self._slopes_PGK.take(at_NG), self.space.active(genes).view(np.uint8)
        )
        return summed

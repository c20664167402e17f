"""What the predictor's slopes at a network say of networks made from it.

A slope costs about two evaluations and tells of every change at once, so that many children can be
looked through for each that is asked about.

Shapes: P parents, N children, G genes, K choices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats

Slopes = Callable[[GeneMatrix], npt.NDArray[np.float32]]
"""See `search.predictors.protocol.Sloped`."""


class Promise:
    """The slopes at the parents of an evolution, each asked once."""

    def __init__(self, space: SearchSpace, slopes: Slopes) -> None:
        self.space, self._slopes = space, slopes
        most = int(space.n_choices.max())
        self._first_G = np.arange(len(space.genes)) * most
        self._slopes_PGK = np.empty((0, len(space.genes), most), np.float32)
        self._rest_P: Floats = np.empty(0)

    def follow(self, genes: GeneMatrix, top1: Floats, before: npt.NDArray[np.intp]) -> None:
        """New parents.

        Args:
            genes, top1: they and their accuracies, percent, (P, G) and (P,).
            before: their places among the parents so far, -1 for those that are new, (P,).
        """
        new = before < 0
        slopes_PGK = (
            self._slopes_PGK[before]
            if len(self._slopes_PGK)
            else np.empty((len(genes), *self._slopes_PGK.shape[1:]), np.float32)
        )
        slopes_PGK[new] = self._slopes(genes[new])
        self._slopes_PGK = slopes_PGK
        self._rest_P = top1 - self._sum(genes, np.arange(len(genes)))

    def of(self, made: GeneMatrix, parent: npt.NDArray[np.intp]) -> Floats:
        """Accuracy expected of each row of `made`, percent, from its parent's slopes, (N,)."""
        expected: Floats = self._rest_P[parent] + self._sum(made, parent)
        return expected

    def _sum(self, genes: GeneMatrix, parent: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """What the slopes at each row's parent say of its active genes together, (N,)."""
        size = self._slopes_PGK[0].size if len(parent) else 0
        at_NG = genes + self._first_G + (parent * size)[:, None]
        summed: npt.NDArray[np.float32] = np.einsum(
            "ng,ng->n", self._slopes_PGK.take(at_NG), self.space.active(genes).view(np.uint8)
        )
        return summed

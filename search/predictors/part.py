"""A predictor on a part of its space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SpacePart
from search.costs import Floats
from search.predictors.protocol import AccuracyPredictor, Provenance, Sloped, warm_start_pool_of


@dataclass(frozen=True, eq=False)
class PartPredictor:
    """What `predictor` says of the networks of `space`, a part of the predictor's space."""

    predictor: AccuracyPredictor
    space: SpacePart

    @property
    def provenance(self) -> Provenance:
        """That of the predictor of the whole space."""
        return self.predictor.provenance

    @property
    def warm_start_pool(self) -> GeneMatrix:
        """The pool of the whole space, each network brought into the part, (E, G)."""
        pool = self.space.of_whole(warm_start_pool_of(self.predictor, self.space.whole))
        return np.unique(pool, axis=0)

    def predict(self, genes: GeneMatrix) -> Floats:
        """See `AccuracyPredictor`."""
        return self.predictor.predict(self.space.to_whole(genes))


class SlopedPartPredictor(PartPredictor):
    """The same of a predictor with slopes."""

    def slopes(self, genes: GeneMatrix) -> npt.NDArray[np.float32]:
        """See `Sloped`."""
        assert isinstance(self.predictor, Sloped)
        whole_NGK = self.predictor.slopes(self.space.to_whole(genes))
        slopes = np.zeros((*genes.shape, int(self.space.n_choices.max())), np.float32)
        for column, kept in enumerate(self.space.kept):
            slopes[:, column, : len(kept)] = whole_NGK[:, column, list(kept)]
        return slopes


def predictor_of_part(predictor: AccuracyPredictor, space: SpacePart) -> AccuracyPredictor:
    """`predictor`, which is of `space.whole`, for gene matrices of `space`."""
    kind = SlopedPartPredictor if isinstance(predictor, Sloped) else PartPredictor
    return kind(predictor, space)

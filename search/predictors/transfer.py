"""A predictor of one supernet for another one of the same space: a line through few measurements.

What a choice adds to the accuracy on one task, it adds on another one about in proportion. So the
other's predictions are scaled and shifted to the accuracies that were measured (least squares): two
numbers, for which few measurements are enough. Shapes: N networks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from models.errors import InputError
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats
from search.predictors.metrics import prediction_agreement
from search.predictors.protocol import AccuracyPredictor, Provenance

MIN_MEASURED = 8
LEAST_SPREAD = 1e-6
"""Of predictions, percentage points, below which their slope is left at 0."""


@runtime_checkable
class Rescalable(AccuracyPredictor, Protocol):
    """A predictor that can be scaled and shifted."""

    @property
    def space(self) -> SearchSpace:
        """Of the gene matrices that it predicts."""
        ...

    def rescaled(self, scale: float, offset: float, provenance: Provenance) -> Self:
        """One that predicts `scale` times what this one does, plus `offset` points."""
        ...

    def save(self, path: Path) -> None:
        """Write it as a file that `load_predictor` reads back."""
        ...


def transfer_predictor(
    predictor: Rescalable, genes: GeneMatrix, top1: Floats, *, name: str, target: str
) -> Rescalable:
    """`predictor` scaled and shifted to networks measured on other images, or with other weights.

    Args:
        genes: measured networks, (N, n_genes), canonical, of the predictor's space.
        top1: their accuracies, percent, (N,).
        name: of the space, for the provenance.
        target: what was measured.

    Raises:
        InputError: there are fewer than `MIN_MEASURED`.
    """
    if len(top1) < MIN_MEASURED:
        raise InputError(f"top1: expected at least {MIN_MEASURED} networks, got {len(top1)}")
    predicted = predictor.predict(genes)
    away = predicted - predicted.mean()
    squared = float(away @ away)
    is_flat = squared <= len(away) * LEAST_SPREAD**2
    # A negative slope would turn the base's order round, which is chance where it happens.
    scale = 0.0 if is_flat else max(0.0, float(away @ top1) / squared)
    offset = float(top1.mean() - scale * predicted.mean())
    # Leaving one out in closed form: by its leverage on the line.
    leverage = 1 / len(top1) + (0.0 if scale == 0 else away**2 / squared)
    residual = (top1 - scale * predicted - offset) / (1 - np.minimum(leverage, 1 - 1e-9))
    held_out = prediction_agreement(top1 - residual, top1)
    provenance = replace(
        predictor.provenance,
        space=name,
        target=target,
        count=len(top1),
        rmse=held_out.rmse,
        spearman=held_out.spearman,
        kendall=held_out.kendall,
        method=f"leave-one-out; the predictor of {predictor.provenance.space}, times {scale:.3f}",
        found=None,
    )
    return predictor.rescaled(scale, offset, provenance)

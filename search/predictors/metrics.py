"""How well predicted accuracies agree with measured ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.errors import InputError
from search.costs import Floats


@dataclass(frozen=True, slots=True)
class PredictionAgreement:
    """Errors in percentage points of top-1; rank correlations in [-1, 1]."""

    count: int
    rmse: float
    max_error: float
    spearman: float
    kendall: float
    """Kendall's tau-b, which allows ties."""


def prediction_agreement(predicted: Floats, measured: Floats) -> PredictionAgreement:
    """Compare predictions with measurements of the same networks, both (N,).

    Correlations are 0 where one side is constant, because a constant ranks nothing.

    Raises:
        InputError: if the two differ in length or there are fewer than two.
    """
    if predicted.shape != measured.shape or predicted.ndim != 1 or len(measured) < 2:
        raise InputError(
            f"agreement: expected two vectors of one length of at least 2, "
            f"got {predicted.shape} and {measured.shape}"
        )
    error = predicted - measured
    ranked = np.ptp(predicted) > 0 and np.ptp(measured) > 0
    return PredictionAgreement(
        count=len(measured),
        rmse=float(np.sqrt((error**2).mean())),
        max_error=float(np.abs(error).max()),
        spearman=float(stats.spearmanr(predicted, measured).statistic) if ranked else 0.0,
        kendall=float(stats.kendalltau(predicted, measured).statistic) if ranked else 0.0,
    )

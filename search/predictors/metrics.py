"""How well predicted accuracies agree with measured ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


MIN_FOUND = 8
"""Networks that an interval needs at least."""


@dataclass(frozen=True, slots=True)
class FoundAgreement:
    """How far predictions are off for networks that searches found: a search ends where its
    predictor errs upwards (the winner's curse). Percentage points of top-1."""

    networks: int
    bias: float
    """Predicted minus measured, mean."""
    rmse: float
    """Expected error of one more network once the bias is subtracted, root mean square."""
    interval: float
    """One more network's top-1 is within this of its prediction, once the bias is subtracted."""
    confidence: float
    """Probability with which it is."""

    @property
    def spread(self) -> float:
        """Standard deviation of a network's error."""
        return self.rmse / math.sqrt(1 + 1 / self.networks)

    @property
    def is_fair(self) -> bool:
        """Whether the bias is small beside the spread."""
        return abs(self.bias) <= max(FAIR_SHARE * self.rmse, FAIR_POINTS)


FAIR_SHARE, FAIR_POINTS = 0.5, 0.1


def found_agreement(
    predicted: Floats,
    measured: Floats,
    confidence: float = 0.9,
    earlier: Sequence[FoundAgreement] = (),
) -> FoundAgreement:
    """Compare predictions with measurements of networks that searches found with this predictor,
    both (N,).

    The interval is that of one more draw from a normal distribution of which mean and variance are
    estimated (Student's t).

    Args:
        earlier: of the predictors before this one, each fitted to what the one before had found.
            Their variances are pooled with this one's: the round that ends the fitting is chosen
            for its errors, so its own variance is a little too small.

    Raises:
        InputError: if the two differ in length or there are fewer than `MIN_FOUND`.
    """
    if predicted.shape != measured.shape or len(measured) < MIN_FOUND:
        raise InputError(
            f"agreement: expected two vectors of one length of at least {MIN_FOUND}, "
            f"got {predicted.shape} and {measured.shape}"
        )
    count = len(measured)
    error = predicted - measured
    rounds = [(count - 1, float(error.var(ddof=1)))]
    if earlier:  # the last of them has pooled those before it
        rounds.append((sum(e.networks - 1 for e in earlier), earlier[-1].spread ** 2))
    degrees = sum(freedom for freedom, _ in rounds)
    variance = sum(freedom * one for freedom, one in rounds) / degrees
    rmse = float(np.sqrt(variance * (1 + 1 / count)))
    return FoundAgreement(
        networks=count,
        bias=float(error.mean()),
        rmse=rmse,
        interval=rmse * float(stats.t.ppf((1 + confidence) / 2, degrees)),
        confidence=confidence,
    )

"""Upper bounds of predicted latencies, from the errors of earlier predictions.

The score of a network is its measured over its predicted latency within one sitting. Were a new
network drawn like the n scored ones and timed in the same sitting, its latency would be at most its
prediction times the k-th smallest score in a share k / (n + 1) of all cases (split conformal
prediction: Vovk et al., "Algorithmic Learning in a Random World", 2005; Lei et al., JASA 113,
2018). Neither holds in general: searches choose their networks, and networks run at other times.
The confidence is therefore *nominal*, what the calculation aims at. Where the drift between
sittings is known, the bound is a quantile of score times drift; otherwise drift is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from latency_tables.table.sittings import Drift
from models.errors import InputError

USUAL_CONFIDENCE = 0.9
"""The default."""
MAX_RATIOS = 100_000
_ROUNDING = 1e-9
_HALVINGS = 60

Floats = npt.NDArray[np.float64]


def most_confidence(count: int) -> float:
    """The largest confidence of a bound from `count` measured networks; 0 for none."""
    return count / (count + 1)


def upper_factor(ratios: Sequence[float], confidence: float, drift: Drift | None = None) -> float:
    """The factor from a predicted latency to its upper bound at this confidence.

    Args:
        ratios: measured over predicted latency of networks that the prediction did not use, within
            a sitting; ascending.
        drift: between sittings; None: not known, and left out.

    Raises:
        InputError: `confidence` is not from 0.5 to below 1, or more than so many networks allow.
    """
    check_confidence(confidence)
    rank = math.ceil((len(ratios) + 1) * confidence - _ROUNDING)
    if rank > len(ratios):
        most = most_confidence(len(ratios))
        support = (
            f"{len(ratios)} measured networks support at most {most:.4g}: measure at least "
            f"{networks_for(confidence)} whole networks"
            if ratios
            else "no whole network was measured on the device: measure some"
        )
        raise InputError(f"latency confidence {confidence:g}: {support}, or ask for no confidence")
    if drift is None:
        return ratios[rank - 1]
    return _with_drift(tuple(ratios), rank, drift)


@lru_cache(maxsize=256)
def _with_drift(ratios: tuple[float, ...], rank: int, drift: Drift) -> float:
    """The quantile of score times drift whose limit without drift is the score of this rank."""
    logs = np.log(ratios)
    at_rank = float(logs[rank - 1])
    if drift.scale < _ROUNDING:
        return math.exp(drift.mean + at_rank)
    count = len(ratios)
    level = (rank - 0.5) / count  # half: with little drift, as often above the score as below it

    def share_below(bound: float) -> float:
        return float(student_t_cdf((bound - logs) / drift.scale, drift.sittings - 1).mean())

    width = drift.scale
    while share_below(at_rank + width) < level:
        width *= 2
    low, high = at_rank, at_rank + width  # never below the bound without drift
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if share_below(middle) >= level else (middle, high)
    return math.exp(drift.mean + high)


def student_t_cdf(t: Floats, freedom: int) -> Floats:
    """The distribution function of Student's t for whole degrees of freedom: Abramowitz and Stegun
    26.7.3 and 26.7.4. scipy has it too, but takes long to import where a search answers."""
    angle = np.arctan(t / math.sqrt(freedom))
    cos, term = np.cos(angle), np.ones_like(angle)
    odd = freedom % 2
    terms = np.zeros_like(angle) if freedom == 1 else term
    for step in range(2 + odd, freedom - 1, 2):
        term = term * cos**2 * ((step - 1) / step)
        terms = terms + term
    within = 2 / math.pi * (angle + np.sin(angle) * cos * terms) if odd else np.sin(angle) * terms
    return (1 + within) / 2


def networks_for(confidence: float) -> int:
    """The least number of measured networks for a bound at `confidence`."""
    return math.ceil(confidence / (1 - confidence) - _ROUNDING)


def check_confidence(confidence: float) -> None:
    """Check that a bound can have this confidence.

    Raises:
        InputError: it is not from 0.5 to below 1.
    """
    if not 0.5 <= confidence < 1:  # false for NaN too
        raise InputError(
            f"latency confidence: expected from 0.5 to below 1, such as 0.9, got {confidence:g}"
        )

"""Upper bounds of predicted latencies, from the errors of earlier predictions.

Split conformal prediction with the score measured / predicted (Vovk et al., "Algorithmic Learning
in a Random World", 2005; Lei et al., JASA 113, 2018). If a new network is drawn like the n measured
ones, its latency is at most its prediction times the k-th smallest score, with probability
k / (n + 1). The largest score has probability n / (n + 1), so no bound can have more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.errors import InputError

USUAL_CONFIDENCE = 0.9
"""The default."""
MAX_RATIOS = 100_000
_ROUNDING = 1e-9


def most_confidence(count: int) -> float:
    """The largest probability that a bound from `count` measured networks can have; 0 for none."""
    return count / (count + 1)


def upper_factor(ratios: Sequence[float], confidence: float) -> float:
    """The factor from a predicted latency to its upper bound at this probability.

    Args:
        ratios: measured over predicted latency of networks that the prediction did not use;
            ascending.

    Raises:
        InputError: `confidence` is not from 0.5 to below 1, or more than so many networks allow.
    """
    check_confidence(confidence)
    rank = math.ceil((len(ratios) + 1) * confidence - _ROUNDING)
    if rank > len(ratios):
        most = most_confidence(len(ratios))
        promise = (
            f"{len(ratios)} measured networks can promise at most {most:.4g}: measure at least "
            f"{networks_for(confidence)} whole networks"
            if ratios
            else "no whole network was measured on the device: measure some"
        )
        raise InputError(f"latency confidence {confidence:g}: {promise}, or ask for no confidence")
    return ratios[rank - 1]


def networks_for(confidence: float) -> int:
    """The least number of measured networks for a bound at `confidence`."""
    return math.ceil(confidence / (1 - confidence) - _ROUNDING)


def check_confidence(confidence: float) -> None:
    """Check that a bound can have the probability `confidence`.

    Raises:
        InputError: it is not from 0.5 to below 1.
    """
    if not 0.5 <= confidence < 1:  # false for NaN too
        raise InputError(
            f"latency confidence: expected from 0.5 to below 1, such as 0.9, got {confidence:g}"
        )

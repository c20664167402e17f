"""Upper bounds of predicted latencies, from how far predictions were off.

Split conformal prediction with the score measured / predicted (Vovk et al., "Algorithmic Learning
in a Random World", 2005; Lei et al., JASA 113, 2018): if the networks asked about are drawn like
the n measured ones, a further one is at most the k-th smallest score times its prediction with
probability k / (n + 1). No score promises more than n / (n + 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.errors import InputError

USUAL_CONFIDENCE = 0.9
"""What is shown where nothing else was asked for."""
MAX_RATIOS = 100_000
_ROUNDING = 1e-9


def most_confidence(count: int) -> float:
    """The largest probability that `count` measured networks can promise; 0 without any."""
    return count / (count + 1)


def upper_factor(ratios: Sequence[float], confidence: float) -> float:
    """What to multiply a predicted latency with, so that it holds with this probability.

    Args:
        ratios: measured over predicted latency of networks that the prediction did not use,
            ascending.

    Raises:
        InputError: if `confidence` is no probability, or more than so many networks can promise.
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
    """The least number of measured networks that can promise `confidence`."""
    return math.ceil(confidence / (1 - confidence) - _ROUNDING)


def check_confidence(confidence: float) -> None:
    """Check that `confidence` is a probability that a bound can have.

    Raises:
        InputError: if not.
    """
    if not 0.5 <= confidence < 1:  # false for NaN too
        raise InputError(
            f"latency confidence: expected from 0.5 to below 1, such as 0.9, got {confidence:g}"
        )

"""`latency_tables.table.prediction_bounds`: what a bound promises is what it keeps, and no more is
promised.
"""

from __future__ import annotations

import numpy as np
import pytest

from latency_tables.table.prediction_bounds import most_confidence, networks_for, upper_factor
from models.errors import InputError


@pytest.mark.parametrize(("count", "confidence"), [(9, 0.9), (20, 0.9), (60, 0.8), (3, 0.75)])
@pytest.mark.parametrize("spread", [0.01, 0.2])
def test_bound_holds_as_often_as_promised(count, confidence, spread):
    """Simulated: measured networks and one more of the same kind, 4,000 times."""
    rng = np.random.default_rng(0)
    ratios = np.exp(spread * rng.standard_t(4, (4000, count + 1)))
    held = [row[-1] <= upper_factor(sorted(row[:-1]), confidence) for row in ratios]
    rank = int(np.ceil((count + 1) * confidence - 1e-9))
    assert np.mean(held) == pytest.approx(rank / (count + 1), abs=0.02)
    assert rank / (count + 1) >= confidence - 1e-9


@pytest.mark.parametrize("count", [1, 3, 8, 9, 99])
def test_never_more_than_the_networks_can_promise(count):
    ratios = sorted(np.random.default_rng(1).uniform(0.9, 1.1, count))
    most = most_confidence(count)
    assert most == count / (count + 1)
    assert upper_factor(ratios, most) == ratios[-1]
    with pytest.raises(InputError, match=f"{count} measured networks can promise at most"):
        upper_factor(ratios, most + 1e-6)
    assert networks_for(most) == count


def test_without_networks_nothing_is_promised():
    with pytest.raises(InputError, match="no whole network was measured"):
        upper_factor([], 0.5)


@pytest.mark.parametrize("confidence", [0.0, 0.49, 1.0, 90, float("nan"), -1])
def test_a_confidence_is_a_probability(confidence):
    with pytest.raises(InputError, match="expected from 0.5 to below 1"):
        upper_factor([1.0] * 100, confidence)


def test_rank_by_hand():
    ratios = [0.98, 0.99, 1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.2]
    assert upper_factor(ratios, 0.5) == 1.03  # the 6th of 10: 5.5 rounded up
    assert upper_factor(ratios, 0.9) == 1.2  # the 10th: 9.9 rounded up
    assert upper_factor(ratios, 10 / 11) == 1.2

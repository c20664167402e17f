"""`latency_tables.table.prediction_bounds`: bounds cover what they aim at where the model holds,
within a sitting and between sittings.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from latency_tables.table.prediction_bounds import (
    most_confidence,
    networks_for,
    student_t_cdf,
    upper_factor,
)
from latency_tables.table.sittings import Drift, Sitting, estimate_drift
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
    with pytest.raises(InputError, match=f"{count} measured networks support at most"):
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


def sitting(ratio, **changes):
    return Sitting(measured_at=None, networks=60, ratio=ratio, **changes)


def test_drift_by_hand():
    assert estimate_drift([]) is None
    assert estimate_drift([sitting(1.1)]) is None, "two sittings say nothing of their spread"
    drift = estimate_drift([sitting(math.e**0.01), sitting(math.e**0.05)])
    assert drift is not None
    assert drift.mean == pytest.approx(0.02)
    assert drift.sittings == 3
    assert drift.deviation == pytest.approx(math.sqrt((0.02**2 + 0.01**2 + 0.03**2) / 2))
    assert drift.scale == pytest.approx(drift.deviation * math.sqrt(4 / 3))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 49])
def test_student_t_is_that_of_scipy(freedom):
    t = np.linspace(-30, 30, 121)
    assert student_t_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)


@pytest.mark.parametrize("drift", [Drift(0.0, 0.02, 3), Drift(0.03, 0.01, 5)])
def test_a_bound_with_drift_is_the_quantile_of_what_is_simulated(drift):
    rng = np.random.default_rng(0)
    ratios = np.sort(np.exp(0.02 * rng.standard_normal(40)))
    speeds = np.exp(drift.mean + drift.scale * rng.standard_t(drift.sittings - 1, 400_000))
    simulated = np.quantile(rng.choice(ratios, 400_000) * speeds, 36.5 / 40)
    assert upper_factor(tuple(ratios), 0.9, drift) == pytest.approx(simulated, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("sittings", "drift", "spread"), [(3, 0.02, 0.02), (6, 0.03, 0.005)])
def test_bounds_cover_later_sittings(sittings, drift, spread):
    """Simulated: a table, its later sittings, and a network in one more of them, 2,000 times. With
    few sittings the bound is rather too wide; without drift it covers far fewer."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(2000):
        own, *later, new = drift * rng.standard_normal(sittings + 1)
        ratios = sorted(np.exp(spread * rng.standard_normal(40)))
        known = estimate_drift([sitting(math.exp(d - own)) for d in later])
        time = math.exp(new - own + spread * rng.standard_normal())
        held.append([time <= upper_factor(ratios, 0.9, d) for d in (known, None)])
    with_drift, without = np.mean(held, axis=0)
    assert 0.885 < with_drift < 0.95
    assert without < 0.83


@pytest.mark.slow
@given(
    ratios=st.lists(st.floats(0.8, 1.3), min_size=9, max_size=60).map(sorted),
    confidence=st.floats(0.5, 0.9),
    deviation=st.floats(0, 0.2, allow_subnormal=False),
    sittings=st.integers(3, 50),
)
def test_a_bound_grows_with_drift(ratios, confidence, deviation, sittings):
    alone = upper_factor(ratios, confidence)
    known = upper_factor(ratios, confidence, Drift(0.0, deviation, sittings))
    assert alone * (1 - 1e-9) <= known < math.inf
    shifted = upper_factor(ratios, confidence, Drift(0.1, deviation, sittings))
    assert shifted == pytest.approx(math.exp(0.1) * known)
    assert upper_factor(ratios, confidence, Drift(0.0, 1e-12, sittings)) == pytest.approx(alone)

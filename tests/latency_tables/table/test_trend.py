"""A steady change is told from noise."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from latency_tables.table.trend import steady_change


def test_noise_is_hardly_ever_taken_for_a_change():
    rng = np.random.default_rng(0)
    found = [steady_change(np.exp(0.1 * rng.standard_normal(30))) for _ in range(500)]
    assert sum(change is not None for change in found) <= 15  # 1 % expected


@pytest.mark.parametrize("count", [8, 9, 31, 400])
def test_a_change_is_found_and_measured(count):
    noise = np.exp(0.02 * np.random.default_rng(1).standard_normal(count))
    rising = steady_change(np.linspace(1, 1.5, count) * noise)
    falling = steady_change(np.linspace(1.5, 1, count) * noise)
    assert rising == pytest.approx(1.33, abs=0.08)
    assert falling == pytest.approx(1 / 1.33, abs=0.06)
    step = np.where(np.arange(count) < count // 2, 1.0, 1.5) * noise
    if count > 20:  # fewer ranks may fall so by chance
        assert steady_change(step) == pytest.approx(1.5, abs=0.1)


def test_the_rank_correlation_is_spearmans():
    """The threshold is met exactly where scipy's correlation meets it."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        values = rng.standard_normal(20) + 0.08 * np.arange(20) + 10
        correlation = spearmanr(np.arange(20), values).statistic
        assert (steady_change(values) is not None) == (abs(correlation) * np.sqrt(19) >= 2.6)


def test_few_values_say_nothing():
    assert steady_change(np.arange(1.0, 8.0)) is None

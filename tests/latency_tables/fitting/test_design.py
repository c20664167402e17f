"""Networks chosen for a fit: equal for equal arguments, spread, and better than random ones."""

from __future__ import annotations

import numpy as np
import pytest

from latency_tables.fitting.design import _choose, _shares, design_networks
from models.spaces import Arch
from tests.spaces import DEBUG


def test_different_networks_of_all_resolutions():
    archs = design_networks(DEBUG, 24)
    assert archs == design_networks(DEBUG, 24)
    assert archs[:12] == design_networks(DEBUG, 12)
    assert len(set(archs)) == 24
    assert {arch.resolution for arch in archs} == set(DEBUG.resolutions)
    for arch in archs:
        assert isinstance(DEBUG.read_arch(arch.to_json()), Arch)


def test_a_small_space_is_used_up():
    smallest = DEBUG.at([DEBUG.resolutions[0]])
    count = smallest.cardinality
    assert len(design_networks(smallest, count + 50)) <= count


@pytest.mark.parametrize("seed", range(3))
def test_predictions_vary_less_than_after_random_choices(seed):
    """By the formula for the variance of a linear fit, which the choice does not use."""
    rng = np.random.default_rng(seed)
    rows = _shares(DEBUG, DEBUG.decode(DEBUG.sample(300, rng)))

    def mean_variance(chosen):
        few = rows[chosen]
        inverse = np.linalg.inv(few.T @ few + 0.0036 * np.eye(rows.shape[1]))
        return np.einsum("cf,fg,cg->c", rows, inverse, rows).mean()

    designed = mean_variance(_choose(rows, 24))
    random = [mean_variance(rng.choice(300, 24, replace=False)) for _ in range(20)]
    assert designed < min(random)

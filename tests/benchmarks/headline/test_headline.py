"""The comparison behind the headline, against cases whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.headline.compare import Curve, speedup
from tests.benchmarks.headline.networks import Network, mean_sd


def group(top1, ms, noise=0.0, rounds=40):
    rng = np.random.default_rng(3)
    ms = np.array(ms)[:, None] * np.exp(noise * rng.standard_normal((len(ms), rounds)))
    return np.array(top1, float), ms


def sds(ours, theirs, top1_sd=0.0):
    return np.full(len(ours[0]), top1_sd), np.full(len(theirs[0]), top1_sd)


def compared(ours, theirs, top1_sd=0.0):
    found = speedup(ours, theirs, sds(ours, theirs, top1_sd))
    assert found is not None
    return found


@pytest.mark.slow
def test_a_family_k_times_slower_everywhere_is_k_times_slower():
    ours, theirs = group([91, 92, 93], [1, 2, 4]), group([91, 92, 93], [2.5, 5, 10])
    found = compared(ours, theirs)
    assert found.mean == pytest.approx(2.5)
    assert found.least == pytest.approx(2.5)
    assert found.interval == pytest.approx((2.5, 2.5))


def test_only_accuracies_that_both_reach_count():
    found = compared(group([90, 92], [1, 2]), group([91, 95], [3, 9]))
    assert found.top1_range == (91, 92)
    apart = group([90, 91], [1, 2]), group([92, 93], [3, 9])
    assert speedup(*apart, sds(*apart)) is None


def test_one_network_is_compared_at_its_accuracy():
    found = compared(group([91, 93], [1, 4]), group([92], [3]))
    assert (found.top1_range, found.mean) == ((92, 92), pytest.approx(1.5))


def test_dominated_networks_do_not_count():
    curve = Curve.of(np.array([92.0, 91.0, 93.0, 92.5]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert curve.top1.tolist() == [92, 93]
    assert np.exp(curve.log_ms_at(np.array([92.0]))) == pytest.approx([1.0])


@pytest.mark.slow
def test_the_interval_widens_with_the_noise_and_holds_the_truth():
    ours, theirs = group([91, 92, 93], [1, 2, 4], 0.1), group([91, 92, 93], [2, 4, 8], 0.1)
    sharp, vague = compared(ours, theirs), compared(ours, theirs, 0.3)
    assert sharp.interval[0] < 2.0 < sharp.interval[1]
    assert vague.interval[1] - vague.interval[0] > sharp.interval[1] - sharp.interval[0]


def test_accuracies_vary_as_seeds_do_and_else_as_test_images_let_them():
    def network(*top1):
        return Network(
            name="n", group="g", macs=1, params=1, top1=top1, energy_kwh=0.0, model=Path("n.onnx")
        )

    four, two, one = mean_sd([network(90, 91, 92, 93), network(90, 92), network(91)])
    assert one == pytest.approx(np.sqrt((5 + 2) / (3 + 1)))  # squares over degrees of freedom
    assert four == pytest.approx(one / 2)
    assert two == pytest.approx(one / np.sqrt(2))
    assert mean_sd([network(90)]) == pytest.approx(100 * np.sqrt(0.9 * 0.1 / 10_000))

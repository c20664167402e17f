"""The error of networks that searches find: its interval covers, and the winner's curse is gone."""

import numpy as np
import pytest

from models.errors import InputError
from search.predictors.metrics import MIN_FOUND, FoundAgreement, found_agreement


def test_figures_are_those_of_the_definition():
    predicted = np.array([90.0, 91, 92, 93, 94, 95, 96, 97])
    measured = predicted - np.array([1.0, 2, 3, 1, 2, 3, 1, 3])
    found = found_agreement(predicted, measured)
    assert found.bias == 2.0
    assert found.rmse == pytest.approx(np.std([1, 2, 3, 1, 2, 3, 1, 3], ddof=1) * np.sqrt(9 / 8))
    # Student's t for seven degrees of freedom: 1.895 at 95 %.
    assert found.interval == pytest.approx(1.895 * found.rmse, rel=1e-3)
    assert not found.is_fair


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 24, 60])
def test_the_interval_covers_the_next_network(count):
    rng = np.random.default_rng(count)
    covered = []
    for _ in range(2000):
        errors = rng.normal(1.2, 0.4, count + 1)
        found = found_agreement(errors[:-1], np.zeros(count))
        covered.append(abs(errors[-1] - found.bias) <= found.interval)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)


def test_the_best_of_many_noisy_predictions_is_promised_too_much_until_corrected():
    """Twin of a search: the largest of 1,000 predictions, each off by a normal error."""
    rng = np.random.default_rng(0)

    def search():
        truth = rng.normal(80, 1, 1000)
        predicted = truth + rng.normal(0, 1, 1000)
        best = predicted.argmax()
        return predicted[best], truth[best]

    predicted, measured = np.array([search() for _ in range(24)]).T
    found = found_agreement(predicted, measured)
    assert found.bias > 1
    later, truth = np.array([search() for _ in range(400)]).T
    off = later - found.bias - truth
    assert abs(off.mean()) < 0.4 * found.rmse
    assert np.mean(np.abs(off) <= found.interval) > 0.85


def test_variances_of_earlier_rounds_are_pooled():
    rng = np.random.default_rng(0)
    errors = [rng.normal(bias, 0.4, 24) for bias in (2.0, 1.0, 0.0)]
    rounds: list[FoundAgreement] = []
    for round_ in errors:
        rounds.append(found_agreement(round_, np.zeros(24), earlier=rounds[:]))
    centred = np.concatenate([round_ - round_.mean() for round_ in errors])
    assert rounds[2].spread == pytest.approx(np.sqrt(np.sum(centred**2) / 69))
    assert rounds[2].bias == pytest.approx(errors[2].mean())


def test_too_few_networks_are_refused():
    with pytest.raises(InputError, match=f"at least {MIN_FOUND}"):
        found_agreement(np.zeros(MIN_FOUND - 1), np.zeros(MIN_FOUND - 1))

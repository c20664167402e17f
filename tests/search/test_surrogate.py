"""The additive surrogate: exact where the predictor is additive."""

import numpy as np

from search.surrogate import fit_additive
from tests.fakes import LinearAccuracy
from tests.spaces import FASHION_LIKE


def test_surrogate_of_an_additive_predictor_is_exact():
    predictor = LinearAccuracy(FASHION_LIKE, 4)
    rng = np.random.default_rng(0)
    genes, unseen = FASHION_LIKE.sample(1500, rng), FASHION_LIKE.sample(500, rng)
    surrogate = fit_additive(FASHION_LIKE, genes, predictor.predict(genes))
    np.testing.assert_allclose(surrogate.evaluate(unseen), predictor.predict(unseen), atol=1e-4)

"""Networks worth starting every search from, found once for a predictor and no device.

Where a predictor is rugged, a short search settles in whichever good place it meets first. Which
places are good says the predictor, not the device: so it is searched once at length, under made-up
devices whose every layer costs its multiply-accumulates, more or less, and on every third its
weights as well. Those answers, the *elites* (after Mouret and Clune, arXiv 1504.04909), are kept in
the predictor's file, and every later search starts from those near its limits.

The searches know nothing of each other's answers: each started from the last ones, they would all
end in the same few places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.spaces import GeneMatrix
from search.costs import CostModel, Factor, macs_costs, params_costs, weighted
from search.evolution.evolution import EvolutionSettings
from search.evolution.run import SearchSettings, search_subnet
from search.predictors import Mlp

SPREAD = 0.25
"""Standard deviation of the logarithm of what a layer costs on a made-up device."""
BUDGETS = (0.02, 0.65)
"""From the least a network costs (0) to the most (1); above, nearly everything is affordable."""
WEIGHTY = 3
"""Every so many-th device pays for weights too, as one short of memory bandwidth does. Elites found
with the others alone are of little use where weights are limited."""
MOST_WEIGHTY = 0.7
"""The largest share of what the costliest network costs that is for weights."""
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, lie evenly however many are taken."""
SETTINGS = SearchSettings(evolution=EvolutionSettings(population=480, parents=60))
"""Each takes four to five times as long as a later search."""


def find_elites(
    predictor: Mlp, searches: int, on_share: Callable[[float], None] = lambda _: None
) -> GeneMatrix:
    """The answers of `searches` searches, each once, (E, G); the same every time.

    Args:
        on_share: told how much is done, 0..1, after each search.
    """
    space = predictor.space
    macs, params = macs_costs(space), params_costs(space)
    low, high = BUDGETS
    found = space.encode([])
    predictor = replace(predictor, elites=found)
    for number in range(searches):
        device = _device(macs, params, number)
        share = low + (high - low) * (number * GOLDEN % 1)
        budget = device.floor() + share * (device.ceiling() - device.floor())
        result = search_subnet(
            space, predictor, {"cost": device}, {"cost": budget}, number, settings=SETTINGS
        )
        found = np.unique(np.vstack([found, result.genes]), axis=0)
        on_share((number + 1) / searches)
    return found


def _device(macs: CostModel, params: CostModel, number: int) -> CostModel:
    """What layers cost on one made-up device."""
    rng = np.random.default_rng(number)
    weight = rng.uniform(0, MOST_WEIGHTY) if number % WEIGHTY == WEIGHTY - 1 else 0.0
    shares = {"macs": (1 - weight) / macs.ceiling(), "params": weight / params.ceiling()}
    mixed = weighted({"macs": macs, "params": params}, shares)
    factors = tuple(
        Factor(f.name, f.columns, f.table * np.exp(rng.normal(0, SPREAD))) for f in mixed.factors
    )
    return CostModel(macs.space, factors)

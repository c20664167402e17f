"""Networks that every search with a predictor starts from, found once and for no one device.

A short search of a rugged predictor ends at whichever good network it meets first. Which networks
are good depends on the predictor more than on the device. So a predictor is explored once, by long
searches for made-up devices, on which a layer costs its multiply-accumulates times a random factor,
and on every third its weights as well. Their answers, the *warm-start pool* (an archive of elites
after Mouret and Clune, arXiv 1504.04909), are kept in the predictor's file, and every later search
starts from those near its limits.

Each exploring search starts without the answers of the others: with them, all would end near the
same few networks.
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
"""Range, from the least that a network costs (0) to the most (1); above, few limits bind."""
WEIGHTS_EVERY = 3
"""On every third device weights cost too, as on one short of memory bandwidth. A pool without such
devices hardly helps where weights are limited."""
MAX_WEIGHTS_SHARE = 0.7
"""Largest share of the costliest network's cost that is for weights."""
GOLDEN_RATIO = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, however many there are."""
SETTINGS = SearchSettings(evolution=EvolutionSettings(population=480, parents=60))
"""Each takes four to five times as long as a later search."""


def build_warm_start_pool(
    predictor: Mlp, searches: int, on_share: Callable[[float], None] = lambda _: None
) -> GeneMatrix:
    """The answers of `searches` searches, each once, (E, G); deterministic.

    Args:
        on_share: called after each search with the share done, 0..1.
    """
    space = predictor.space
    macs, params = macs_costs(space), params_costs(space)
    low, high = BUDGETS
    pool = space.encode([])
    predictor = replace(predictor, warm_start_pool=pool)
    for number in range(searches):
        device = _device(macs, params, number)
        share = low + (high - low) * (number * GOLDEN_RATIO % 1)
        budget = device.floor() + share * (device.ceiling() - device.floor())
        result = search_subnet(
            space, predictor, {"cost": device}, {"cost": budget}, number, settings=SETTINGS
        )
        pool = np.unique(np.vstack([pool, result.genes]), axis=0)
        on_share((number + 1) / searches)
    return pool


def _device(macs: CostModel, params: CostModel, number: int) -> CostModel:
    """The costs of a made-up device."""
    rng = np.random.default_rng(number)
    weights_cost = number % WEIGHTS_EVERY == WEIGHTS_EVERY - 1
    weight = rng.uniform(0, MAX_WEIGHTS_SHARE) if weights_cost else 0.0
    shares = {"macs": (1 - weight) / macs.ceiling(), "params": weight / params.ceiling()}
    mixed = weighted({"macs": macs, "params": params}, shares)
    factors = tuple(
        Factor(f.name, f.columns, f.table * np.exp(rng.normal(0, SPREAD))) for f in mixed.factors
    )
    return CostModel(macs.space, factors)

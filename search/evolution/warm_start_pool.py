"""Networks that every search with a predictor starts from, found once and for no one device.

A short search of a rugged predictor ends at whichever good network it meets first. Which networks
are good depends on the predictor more than on the device. So a predictor is explored once, by long
searches for made-up devices, on which a layer costs its multiply-accumulates times a random factor,
and on every third its weights as well. Their answers, the *warm-start pool* (an archive of elites
after Mouret and Clune, arXiv 1504.04909), are kept in the predictor's file, and every later search
starts from those near its limits.

Each exploring search starts without the answers of the others: with them, all would end near the
same few networks. So they can run in any order, on all cores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np

from models.machine import cores
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


SEARCHES_A_PROCESS = 10
"""Fewer do not make up for its start."""


def build_warm_start_pool(
    predictor: Mlp, searches: int, on_share: Callable[[float], None] = lambda _: None
) -> GeneMatrix:
    """The answers of `searches` searches, each once, (E, G); the same with any number of cores.

    Args:
        on_share: called after each search with the share done, 0..1.
    """
    predictor = replace(predictor, warm_start_pool=predictor.space.encode([]))
    pool = predictor.warm_start_pool
    for number, genes in enumerate(_explored(predictor, searches)):
        pool = np.unique(np.vstack([pool, genes]), axis=0)
        on_share((number + 1) / searches)
    return pool


def _explored(predictor: Mlp, searches: int) -> Iterator[GeneMatrix]:
    processes = min(cores(), searches // SEARCHES_A_PROCESS)
    if processes < 2:
        yield from (_explore(predictor, number) for number in range(searches))
        return
    # A fork would copy torch's threads, which other parts of an import have started.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawned, _serve_parent_alone) as workers:
        try:
            yield from workers.map(_explore, [predictor] * searches, range(searches))
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _serve_parent_alone() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _explore(predictor: Mlp, number: int) -> GeneMatrix:
    """The answer of one search, (1, G)."""
    space = predictor.space
    device = _device(macs_costs(space), params_costs(space), number)
    low, high = BUDGETS
    share = low + (high - low) * (number * GOLDEN_RATIO % 1)
    budget = device.floor() + share * (device.ceiling() - device.floor())
    found = search_subnet(
        space, predictor, {"cost": device}, {"cost": budget}, number, settings=SETTINGS
    )
    return found.genes


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

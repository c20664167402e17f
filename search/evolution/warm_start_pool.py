"""Networks that every search with a predictor starts from, found once and for no one device.

A short search of a rugged predictor ends at whichever good network it meets first. Which networks
are good depends on the predictor more than on the device. So a predictor is explored once: on
made-up devices, on which a layer costs its multiply-accumulates times a random factor, and on every
third its weights as well, the whole range of costs is bred. What the populations end with, the
*warm-start pool* (an archive of elites after Mouret and Clune, arXiv 1504.04909), is kept in the
predictor's file, and every later search starts from those near its limits.

Each device is explored without the answers of the others: with them, all would end near the same
few networks. So devices can be explored in any order, on all cores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat

import numpy as np

from models.machine import cores
from models.spaces import GeneMatrix
from search.costs import CostModel, Factor, macs_costs, params_costs, weighted
from search.evolution.effort import Work
from search.evolution.threads import one_blas_thread
from search.evolution.whole_range import WholeRange
from search.predictors import Mlp

SPREAD = 0.25
"""Standard deviation of the logarithm of what a layer costs on a made-up device."""
MOST = 0.65
"""How far a device is explored, from the least that a network costs (0) to the most (1); above, few
limits bind."""
WEIGHTS_EVERY = 3
"""On every third device weights cost too, as on one short of memory bandwidth. A pool without such
devices hardly helps where weights are limited."""
MAX_WEIGHTS_SHARE = 0.7
"""Largest share of the costliest network's cost that is for weights."""
WORK = Work(evaluations=100_000, batch=1024, capacity=2, slack=0.5)
"""On each made-up device."""
KEPT = 400
"""Networks of each; of a rugged predictor there are fewer."""


def build_warm_start_pool(
    predictor: Mlp,
    devices: int,
    on_share: Callable[[float], None] = lambda _: None,
    work: Work | None = None,
) -> GeneMatrix:
    """What exploring `devices` made-up devices finds, each network once, (E, G); the same with any
    number of cores.

    Args:
        on_share: called after each device with the share done, 0..1.
        work: on each device, by default `WORK`.
    """
    predictor = replace(predictor, warm_start_pool=predictor.space.encode([]))
    pool = predictor.warm_start_pool
    for number, genes in enumerate(_explored(predictor, devices, work or WORK)):
        pool = np.unique(np.vstack([pool, genes]), axis=0)
        on_share((number + 1) / devices)
    return pool


def _explored(predictor: Mlp, devices: int, work: Work) -> Iterator[GeneMatrix]:
    processes = min(cores(), devices)
    if processes < 2:
        yield from (_explore(predictor, number, work) for number in range(devices))
        return
    # A fork would copy torch's threads, which other parts of an import have started.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawned, _serve_parent_alone) as workers:
        try:
            yield from workers.map(_explore, repeat(predictor), range(devices), repeat(work))
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


def _explore(predictor: Mlp, number: int, work: Work) -> GeneMatrix:
    """The networks that one device ends with, (E, G)."""
    one_blas_thread()
    space = predictor.space
    device = _device(macs_costs(space), params_costs(space), number)
    most = device.floor() + MOST * (device.ceiling() - device.floor())
    rng = np.random.default_rng(number)
    whole = WholeRange(predictor, device, most, work, rng)
    whole.breed()
    return whole.niches.nearest(KEPT)


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

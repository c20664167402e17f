"""Searching one network: a start, breeding, local search. `search_subnet` is the entry point.

The same space, predictor, costs, limits, seed and settings give the same answer, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from models.spaces import Arch, GeneMatrix, SearchSpace, SpacePart
from search.costs import Cost
from search.evolution.breeding import breed
from search.evolution.effort import DEFAULT_EFFORT, EFFORTS, Effort, Work
from search.evolution.enumeration import every_network, is_small
from search.evolution.local_search import climb
from search.evolution.niches import Niches, Shape
from search.evolution.operators import rank_in_group
from search.evolution.problem import Evaluator, SubnetProblem
from search.evolution.progress import SearchProgress
from search.evolution.threads import one_blas_thread
from search.predictors import AccuracyPredictor, slopes_of, warm_start_pool_of

WINDOW = 0.05
"""How far a network may be over its limits to have children, and below them to have niches of its
own, a share of the limit."""
WIDTH = 0.005
"""Of a niche, a share of the limit."""
TILT = 1.5
"""Spread of the tilts of random networks (`SearchSpace.sample_tilted`)."""
BELOW = 1000
"""Most networks of a pool that are evaluated though they are further below the limits."""
SAMPLES = 2000
"""Random networks whose costs are computed."""
STARTS = 200
"""Those of them, nearest to the limits, that are evaluated if good networks are known."""
MORE_STARTS = 1000
"""If none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The network found and what it costs."""

    genes: GeneMatrix
    """(n_genes,), canonical."""
    arch: Arch
    top1: float
    """Predicted accuracy, percent."""
    costs: Mapping[str, float]
    """Every cost model that was given, limited or not."""
    evaluations: int
    """Networks evaluated by the predictor."""
    generations: int
    seconds: float
    """By the clock given; the only field that differs from run to run."""
    seed: int
    reason: Literal["terminated", "exhausted"]
    """Why breeding stopped; exhausted: hardly a new network was left."""


def search_subnet(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    costs: Mapping[str, Cost],
    limits: Mapping[str, float],
    seed: int,
    *,
    minimums: Mapping[str, float] = MappingProxyType({}),
    effort: Effort = DEFAULT_EFFORT,
    known: GeneMatrix | None = None,
    clock: Callable[[], float] = time.perf_counter,
    on_progress: Callable[[SearchProgress], None] = lambda progress: None,
) -> SearchResult:
    """Find the most accurate network of `space` that meets every limit.

    A small part of a space is not searched: each of its networks is evaluated.
    BLAS has one thread in this process from then on (`search.evolution.threads`).

    Args:
        costs: cost models by name; those without a limit are only reported.
        limits: budgets by name, each in the unit of its cost; may be empty.
        minimums: the least values of costs by name, in their units.
        seed: of the only random generator.
        effort: how much is evaluated; never how long it takes. Twice as much with several limits.
        known: good networks to start from, such as the device's front, (K, G), canonical. The
            answer is at least as accurate as the best of them within the limits.
        clock: seconds; only differences are used.
        on_progress: called after each generation; an exception from it ends the search.

    Raises:
        NotFound: if a limit has no cost model.
        InputError: if a budget is not a positive number.
        Infeasible: if no network meets the limits; raised before searching.
    """
    start = clock()
    one_blas_thread()
    problem = SubnetProblem(space, predictor, costs, limits, minimums).without_slack()
    evaluate = Evaluator(problem)
    generation = 0
    reason: Literal["terminated", "exhausted"] = "exhausted"
    if (minimums or isinstance(space, SpacePart)) and is_small(space):
        row = _best_of_all(evaluate)
    else:
        work = EFFORTS[effort] if problem.limiting() < 2 else EFFORTS[effort].twice()
        row, generation, reason = _searched(
            evaluate, work, known, seed, lambda: clock() - start, on_progress
        )
    top1 = float(evaluate(row[None])[0])
    return SearchResult(
        genes=row,
        arch=space.decode(row[None])[0],
        top1=top1,
        costs={name: float(model.evaluate(row[None])[0]) for name, model in costs.items()},
        evaluations=evaluate.evaluations,
        generations=generation,
        seconds=clock() - start,
        seed=seed,
        reason=reason,
    )


def _best_of_all(evaluate: Evaluator) -> GeneMatrix:
    """The best network of a small space that meets the limits, (G,)."""
    problem = evaluate.problem
    problem.anchor()  # refuses limits that no network meets
    genes = every_network(problem.space)
    genes = genes[problem.feasible(genes)]
    best: GeneMatrix = genes[evaluate(genes).argmax()]
    return best


def _searched(
    evaluate: Evaluator,
    work: Work,
    known: GeneMatrix | None,
    seed: int,
    seconds: Callable[[], float],
    on_progress: Callable[[SearchProgress], None],
) -> tuple[GeneMatrix, int, Literal["terminated", "exhausted"]]:
    """The network that breeding and local search end at, the number of generations, and why they
    ended."""
    problem = evaluate.problem
    space, rng = problem.space, np.random.default_rng(seed)
    shape = Shape(low=-WINDOW, high=WINDOW, width=WIDTH, capacity=work.capacity)
    niches = Niches(space, problem.load, shape, work.batch, rng, slopes_of(problem.predictor))
    spread = _start(niches, evaluate, space.encode([]) if known is None else known, rng)
    generation = stalled = 0
    share, top1 = 0.0, niches.best_within(0.0)[1]
    for share in breed(niches, evaluate, work, spread):
        generation += 1
        before, top1 = top1, niches.best_within(0.0)[1]
        stalled = 0 if top1 > before else stalled + 1
        progress = SearchProgress(
            generation=generation,
            evaluations=evaluate.evaluations,
            seconds=seconds(),
            top1=top1,
            stalled_generations=stalled,
            share=share,
        )
        on_progress(progress)
    row = climb(evaluate, niches.best_within(0.0)[0])
    return row, generation, "terminated" if share >= 1 else "exhausted"


def _start(
    niches: Niches, evaluate: Evaluator, known: GeneMatrix, rng: np.random.Generator
) -> float:
    """Evaluate what is known near the limits and random networks, among them one that meets the
    limits.

    Returns:
        The standard deviation of the random ones' accuracies, percentage points.
    """
    problem = evaluate.problem
    anchor = problem.anchor()[None]
    pool = warm_start_pool_of(problem.predictor, problem.space)
    load = problem.load(pool)
    # A budget may allow more than the best networks need: they lie anywhere below it.
    below = np.flatnonzero(load < -WINDOW)
    below = below[np.argsort(-load[below], kind="stable")][:: 1 + len(below) // BELOW]
    known = np.vstack([anchor, known, pool[np.abs(load) <= WINDOW], pool[below]])
    known = niches.new(known[problem.load(known) <= WINDOW])
    sampled = problem.space.sample_tilted(SAMPLES, TILT, rng)
    nearest = np.argsort(np.abs(problem.load(sampled)), kind="stable")
    nearest = nearest[np.argsort(sampled[nearest, 0], kind="stable")]
    each = -(-(STARTS if len(known) > STARTS else MORE_STARTS) // len(problem.space.resolutions))
    random = niches.new(sampled[nearest[rank_in_group(sampled[nearest, 0]) < each]])
    genes = np.vstack([known, random])
    top1 = evaluate(genes)
    spread = float(top1[len(known) :].std()) if len(random) else 0.0
    niches.tell(genes, top1, np.inf)
    return spread

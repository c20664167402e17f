"""Searching one network: warm start, evolution, local search. `search_subnet` is the entry point.

The same space, predictor, costs, limits, seed and settings give the same answer, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from models.spaces import Arch, GeneMatrix, SearchSpace, SpacePart
from search.costs import Cost
from search.evolution.enumeration import every_network, is_small
from search.evolution.evolution import Evolution, EvolutionSettings
from search.evolution.local_search import climb
from search.evolution.loop import generations
from search.evolution.problem import Evaluator, SubnetProblem
from search.evolution.termination import (
    AnyOf,
    MaxGenerations,
    SearchProgress,
    Stalled,
    Termination,
)
from search.evolution.threads import one_blas_thread
from search.evolution.warm_start import WarmStartSettings, warm_start
from search.predictors import AccuracyPredictor, Sloped, warm_start_pool_of

DEFAULT_TERMINATION = AnyOf((MaxGenerations(250), Stalled(15)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Parameters of the parts of a search."""

    warm_start: WarmStartSettings = WarmStartSettings()
    evolution: EvolutionSettings = EvolutionSettings()


DEFAULT_SETTINGS = SearchSettings()
EXPLORED_SETTINGS = SearchSettings(
    warm_start=WarmStartSettings(groups=1, candidates=300, evaluated=150),
    evolution=EvolutionSettings(population=160, isolation_generations=20, cull_interval=3),
)
"""For predictors with a warm-start pool: with a third of the work, answers are nearer to the best
known."""


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
    """Why the evolution stopped; exhausted: no new network was left."""


def search_subnet(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    costs: Mapping[str, Cost],
    limits: Mapping[str, float],
    seed: int,
    *,
    minimums: Mapping[str, float] = MappingProxyType({}),
    settings: SearchSettings | None = None,
    termination: Termination = DEFAULT_TERMINATION,
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
        settings: by default `EXPLORED_SETTINGS` where the predictor has a warm-start pool, else
            `DEFAULT_SETTINGS`.
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
        row, generation, reason = _searched(
            problem, evaluate, seed, settings, termination, lambda: clock() - start, on_progress
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
    problem: SubnetProblem,
    evaluate: Evaluator,
    seed: int,
    settings: SearchSettings | None,
    termination: Termination,
    seconds: Callable[[], float],
    on_progress: Callable[[SearchProgress], None],
) -> tuple[GeneMatrix, int, Literal["terminated", "exhausted"]]:
    """The network that warm start, evolution and local search end at, the number of generations,
    and why they ended."""
    space, predictor = problem.space, problem.predictor
    rng = np.random.default_rng(seed)
    if settings is None:
        explored = len(warm_start_pool_of(predictor, space)) > 0
        settings = EXPLORED_SETTINGS if explored else DEFAULT_SETTINGS
    known = warm_start(problem, evaluate, settings.warm_start, rng)
    slopes = predictor.slopes if isinstance(predictor, Sloped) else None
    evolution = Evolution(space, problem.violations, known, settings.evolution, rng, slopes)
    generation, reason = _evolve(evolution, evaluate, termination, seconds, on_progress)
    return climb(evaluate, evolution.best), generation, reason


def _evolve(
    evolution: Evolution,
    evaluate: Evaluator,
    termination: Termination,
    seconds: Callable[[], float],
    on_progress: Callable[[SearchProgress], None],
) -> tuple[int, Literal["terminated", "exhausted"]]:
    """Run generations until the termination or until no new network is left.

    Returns:
        The number of generations, and why they ended.
    """
    generation = stalled = 0
    top1 = evolution.best_top1
    for _ in generations(evolution, evaluate):
        generation += 1
        # While groups are isolated, no stall is counted.
        stalled = 0 if evolution.isolated or evolution.best_top1 > top1 else stalled + 1
        top1 = evolution.best_top1
        progress = SearchProgress(
            generation=generation,
            evaluations=evaluate.evaluations,
            seconds=seconds(),
            top1=top1,
            stalled_generations=stalled,
        )
        share = min(1.0, termination.share(progress))
        on_progress(replace(progress, share=share))
        if share >= 1:
            return generation, "terminated"
    return generation, "exhausted"

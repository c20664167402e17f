"""Searching one network: the only loop, and the one entry point.

The same space, predictor, costs, limits, seed and settings give the same answer, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.arch import Arch
from models.space import GeneMatrix, SearchSpace
from search.costs import CostModel
from search.evolution import Evolution, EvolutionSettings
from search.exchange import climb
from search.operators import repair
from search.predictor import AccuracyPredictor
from search.problem import Evaluator, SubnetProblem
from search.surrogate import fit_additive, priced
from search.termination import AnyOf, MaxGenerations, Progress, Stalled, Termination

DEFAULT_SETTINGS = EvolutionSettings()
SURROGATE_SAMPLES = 1000
"""Random networks, half of them within the limits, that the starting points come from."""
DEFAULT_TERMINATION = AnyOf((MaxGenerations(500), Stalled(25)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The network found and what it costs."""

    feasible: Literal[True]
    """Always: a search that meets no network within its limits raises `Infeasible`."""
    genes: GeneMatrix
    """(n_genes,), canonical."""
    arch: Arch
    top1: float
    """Predicted accuracy, percent."""
    costs: Mapping[str, float]
    """Every cost model that was given, limited or not."""
    evaluations: int
    """Different architectures asked of the predictor."""
    generations: int
    seconds: float
    """By the clock that was given; the only field that differs from run to run."""
    seed: int
    reason: Literal["terminated", "exhausted"]
    """Why the evolution stopped; exhausted: no network was left to try."""


def search_subnet(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    costs: Mapping[str, CostModel],
    limits: Mapping[str, float],
    seed: int,
    *,
    settings: EvolutionSettings = DEFAULT_SETTINGS,
    termination: Termination = DEFAULT_TERMINATION,
    clock: Callable[[], float] = time.perf_counter,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """Find the most accurate network of `space` that meets every limit.

    Evolution, then a local exchange from the best network found.

    Args:
        costs: cost models by name; `limits` refers to them.
        limits: budgets by name, in the unit of the name; none at all is allowed.
        seed: of the one random generator that is used.
        clock: seconds that only differences of are used.
        on_progress: called after each generation; what it raises ends the search.

    Raises:
        NotFound: if a limit has no cost model.
        InputError: if a budget is not a positive number.
        Infeasible: if no network meets the limits; says so before searching.
    """
    start = clock()
    problem = SubnetProblem(space, predictor, costs, limits)
    evaluate = Evaluator(problem)
    rng = np.random.default_rng(seed)
    anchor = problem.anchor()
    sampled = np.vstack([anchor, space.sample(SURROGATE_SAMPLES, rng)])
    sampled[::2] = repair(space, sampled[::2], anchor[None], problem.feasible, rng)
    seeds = priced(problem, fit_additive(space, sampled, evaluate(sampled)))
    evolution = Evolution(space, problem.feasible, anchor, seeds, settings, rng)
    progress = Progress(
        generation=0, evaluations=0, seconds=0.0, top1=-np.inf, stalled_generations=0
    )
    reason: Literal["terminated", "exhausted"] = "exhausted"
    while len(genes := evolution.ask()):
        evolution.tell(genes, evaluate(genes))
        best = float(evolution.top1[0])
        progress = Progress(
            generation=progress.generation + 1,
            evaluations=evaluate.evaluations,
            seconds=clock() - start,
            top1=best,
            stalled_generations=0 if best > progress.top1 else progress.stalled_generations + 1,
        )
        share = min(1.0, termination.share(progress))
        on_progress(replace(progress, share=share))
        if share >= 1:
            reason = "terminated"
            break
    row = climb(evaluate, evolution.genes[0])
    return SearchResult(
        feasible=True,
        genes=row,
        arch=space.decode(row[None])[0],
        top1=float(evaluate(row[None])[0]),
        costs={name: float(model.evaluate(row[None])[0]) for name, model in costs.items()},
        evaluations=evaluate.evaluations,
        generations=progress.generation,
        seconds=clock() - start,
        seed=seed,
        reason=reason,
    )

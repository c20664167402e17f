"""What others would do with the same predictor, costs and budgets; none of it is tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.space import GeneMatrix, SearchSpace
from search.costs import CostModel, Floats
from search.predictor import AccuracyPredictor

MOST_DRAWS = 20_000
"""Tries for one network within a budget, where the published code tries for ever."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a baseline came to."""

    top1: float
    evaluations: int


def random_search(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    latency: CostModel,
    budget_ms: float,
    evaluations: int,
    rng: np.random.Generator,
) -> Found:
    """The best of `evaluations` uniform networks within the budget, if so many are met."""
    best, asked = -np.inf, 0
    for _ in range(40):
        genes = space.sample(evaluations, rng)
        genes = genes[latency.evaluate(genes) <= budget_ms][: evaluations - asked]
        asked += len(genes)
        best = max(best, float(predictor.predict(genes).max(initial=-np.inf)))
        if asked == evaluations:
            break
    return Found(best, asked)


def published_evolution(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    latency: CostModel,
    budget_ms: float,
    rng: np.random.Generator,
    *,
    population: int = 100,
    generations: int = 500,
    parent_ratio: float = 0.25,
    mutation_probability: float = 0.1,
    mutation_ratio: float = 0.5,
) -> Found:
    """Evolution as Once-for-All published it, with its parameters (arXiv 1908.09791, appendix):
    one network after the other, drawn again until it meets the budget."""
    n_choices = space.n_choices.tolist()
    lookups = [(factor.columns, factor.table) for factor in latency.factors]

    def efficient(row: list[int]) -> bool:
        cost = latency.constant
        for columns, table in lookups:
            cost += float(table[tuple(row[c] for c in columns)])
        return cost <= budget_ms

    def drawn(make: Callable[[], list[int]]) -> list[int]:
        for _ in range(MOST_DRAWS):
            if efficient(row := make()):
                return row
        return latency.floor_genes.tolist()

    def fresh() -> list[int]:
        return [int(rng.integers(n)) for n in n_choices]

    def mutated(parents: list[list[int]]) -> list[int]:
        parent = parents[int(rng.integers(len(parents)))]
        return [
            int(rng.integers(n)) if rng.random() < mutation_probability else gene
            for gene, n in zip(parent, n_choices, strict=True)
        ]

    def crossed(parents: list[list[int]]) -> list[int]:
        mother, father = (parents[i] for i in rng.integers(len(parents), size=2))
        return [m if rng.random() < 0.5 else f for m, f in zip(mother, father, strict=True)]

    def predicted(rows: list[list[int]]) -> list[float]:
        genes = space.canonical(np.array(rows, np.uint8))
        found: list[float] = predictor.predict(genes).tolist()
        return found

    rows = [drawn(fresh) for _ in range(population)]
    top1 = predicted(rows)
    evaluations = len(rows)
    n_parents = round(parent_ratio * population)
    n_mutated = round(mutation_ratio * population)
    for _ in range(generations):
        order = sorted(range(len(rows)), key=lambda i: -top1[i])[:n_parents]
        parents = [rows[i] for i in order]
        parents_top1 = [top1[i] for i in order]
        children = [drawn(partial(mutated, parents)) for _ in range(n_mutated)]
        children += [drawn(partial(crossed, parents)) for _ in range(population - n_mutated)]
        rows, top1 = parents + children, parents_top1 + predicted(children)
        evaluations += len(children)
    # The published code returns the best parent, and so loses the best of its last generation.
    return Found(max(parents_top1), evaluations)


def nsga2_front(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    latency: CostModel,
    evaluations: int,
    seed: int,
    population: int = 200,
) -> tuple[Floats, Floats]:
    """Latency and top-1 of the front that pymoo's NSGA-II finds with operators for integers."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    class Networks(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(
                n_var=len(space.genes), n_obj=2, xl=0, xu=space.n_choices - 1, vtype=int
            )

        def _evaluate(self, x: GeneMatrix, out: dict[str, Floats]) -> None:
            genes = space.canonical(x.astype(np.uint8))
            out["F"] = np.stack([latency.evaluate(genes), -predictor.predict(genes)], axis=1)

    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    result = minimize(Networks(), algorithm, ("n_eval", evaluations), seed=seed, verbose=False)
    order = np.argsort(result.F[:, 0])
    return result.F[order, 0], -result.F[order, 1]


def hypervolume(latency_ms: Floats, top1: Floats, most_ms: float, least_top1: float) -> float:
    """Area between a front, by rising latency, and a corner that every point betters."""
    inside = (latency_ms <= most_ms) & (top1 >= least_top1)
    x, y = latency_ms[inside], np.maximum.accumulate(top1[inside])
    return float(((y - least_top1) * np.diff(np.append(x, most_ms))).sum())

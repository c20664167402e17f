"""What others would do with the same predictor, costs and budgets; none of it is tuned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.spaces.genes import GeneMatrix
from models.spaces.space import SearchSpace
from search.costs.costs import CostModel, Floats
from search.predictors.protocol import AccuracyPredictor

MOST_DRAWS = 1_000
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
    """Evolution as Once-for-All published it (arXiv 1908.09791, appendix), with its parameters and
    in its manner: a network is a dictionary of lists, its latency a sum of entries of a table
    with text for keys, its inputs to the predictor are set one by one, and one network after the
    other is drawn again until it meets the budget."""
    alike = Published(space, predictor, latency, rng)

    def drawn(make: Callable[[], Sample]) -> Sample:
        for _ in range(MOST_DRAWS):
            if alike.latency_ms(sample := make()) <= budget_ms:
                return sample
        return alike.sample_of(latency.floor_genes)

    def mutated(parents: list[Sample]) -> Sample:
        sample = copy.deepcopy(parents[int(rng.integers(len(parents)))])
        for name, choices in alike.choices.items():
            for i, values in enumerate(choices):
                if rng.random() < mutation_probability:
                    sample[name][i] = values[int(rng.integers(len(values)))]
        return sample

    def crossed(parents: list[Sample]) -> Sample:
        mother, father = (parents[int(rng.integers(len(parents)))] for _ in range(2))
        sample = copy.deepcopy(mother)
        for name, values in father.items():
            for i, value in enumerate(values):
                if rng.random() < 0.5:
                    sample[name][i] = value
        return sample

    rows = [drawn(alike.fresh) for _ in range(population)]
    top1 = alike.predict(rows)
    evaluations = len(rows)
    n_parents = round(parent_ratio * population)
    n_mutated = round(mutation_ratio * population)
    for _ in range(generations):
        order = sorted(range(len(rows)), key=lambda i: -top1[i])[:n_parents]
        parents = [rows[i] for i in order]
        parents_top1 = [top1[i] for i in order]
        children = [drawn(partial(mutated, parents)) for _ in range(n_mutated)]
        children += [drawn(partial(crossed, parents)) for _ in range(population - n_mutated)]
        rows, top1 = parents + children, parents_top1 + alike.predict(children)
        evaluations += len(children)
    # The published code returns the best parent, and so loses the best of its last generation.
    return Found(max(parents_top1), evaluations)


Sample = dict[str, list[float]]
"""Values of the genes of each kind, in order; of blocks that are not active as well."""


class Published:
    """What the published evolution asks about single networks."""

    def __init__(
        self,
        space: SearchSpace,
        predictor: AccuracyPredictor,
        latency: CostModel,
        rng: np.random.Generator,
    ) -> None:
        self.space, self.predictor, self.rng = space, predictor, rng
        self.choices: dict[str, list[tuple[float, ...]]] = {}
        self._place: list[tuple[str, int]] = []
        for gene in space.genes:
            self._place.append((gene.name, len(self.choices.setdefault(gene.name, []))))
            self.choices[gene.name].append(gene.choices)
        self._constant = latency.constant
        self._layers = [(factor.name, factor.columns) for factor in latency.factors]
        self._table = {
            self._key(
                factor.name,
                [space.genes[c].choices[i] for c, i in zip(factor.columns, index, strict=True)],
            ): float(factor.table[index])
            for factor in latency.factors
            for index in np.ndindex(factor.table.shape)
        }

    def fresh(self) -> Sample:
        """A uniform network."""
        return {
            name: [values[int(self.rng.integers(len(values)))] for values in choices]
            for name, choices in self.choices.items()
        }

    def sample_of(self, genes: GeneMatrix) -> Sample:
        """The network of one row of genes, (G,)."""
        sample: Sample = {name: [] for name in self.choices}
        for gene, index in zip(self.space.genes, genes.tolist(), strict=True):
            sample[gene.name].append(gene.choices[index])
        return sample

    def latency_ms(self, sample: Sample) -> float:
        """The sum of the entries of its layers."""
        values = [sample[name][i] for name, i in self._place]
        return self._constant + sum(
            self._table[self._key(name, [values[c] for c in columns])]
            for name, columns in self._layers
        )

    @staticmethod
    def _key(layer: str, values: Sequence[float]) -> str:
        return "-".join([layer, *(f"{value:g}" for value in values)])

    def predict(self, samples: Sequence[Sample]) -> list[float]:
        """Predicted top-1 of each, percent: one batch, encoded network by network."""
        genes = np.zeros((len(samples), len(self.space.genes)), np.uint8)
        for row, sample in enumerate(samples):
            for column, (name, i) in enumerate(self._place):
                genes[row, column] = self.choices[name][i].index(sample[name][i])
        found: list[float] = self.predictor.predict(self.space.canonical(genes)).tolist()
        return found


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

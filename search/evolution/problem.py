"""The optimization problem of a search: the most accurate network within limits.

Shapes: N networks, G genes, C limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.errors import Infeasible, InputError, NotFound, SubnetSearchError
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Cost, CostModel, Floats, weighted
from search.evolution.operators import neighbours
from search.predictors import AccuracyPredictor

DUAL_ROUNDS = 64
DESCENT_ROUNDS = 64


@dataclass(frozen=True, eq=False)
class SubnetProblem:
    """Maximise predicted top-1 over `space` where `costs[name] <= limits[name]`."""

    space: SearchSpace
    predictor: AccuracyPredictor
    costs: Mapping[str, Cost]
    """By name; costs without a limit are only reported."""
    limits: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, budget in self.limits.items():
            if name not in self.costs:
                raise NotFound.named("limit", name, self.costs)
            if isinstance(budget, bool) or not isinstance(budget, int | float):
                raise InputError(f"{name}: expected a number, got {budget!r}")
            if not (math.isfinite(budget) and budget > 0):
                raise InputError(f"{name}: expected a positive finite budget, got {budget}")

    def without_slack(self) -> SubnetProblem:
        """The same problem, no limit above the largest cost in the space: so all budgets that no
        longer limit have one answer."""
        tight = {name: min(most, self.costs[name].ceiling()) for name, most in self.limits.items()}
        return replace(self, limits=tight)

    def evaluate(self, genes: GeneMatrix) -> Floats:
        """Predicted top-1, the objective to maximise, percent, (N,).

        Raises:
            SubnetSearchError: if a prediction is not finite.
        """
        top1 = self.predictor.predict(genes)
        if not np.isfinite(top1).all():
            worst = self.space.decode(genes[~np.isfinite(top1)][:1])[0]
            raise SubnetSearchError(f"predictor gave no finite accuracy for {worst.to_json()}")
        return top1

    @cached_property
    def sums(self) -> dict[str, tuple[CostModel, float]]:
        """Each limit as a sum of small tables and the largest value allowed."""
        return {name: self.costs[name].within(budget) for name, budget in self.limits.items()}

    def violations(self, genes: GeneMatrix) -> Floats:
        """How far each row is over each limit, a share of the budget, (N, C); <= 0 meets it."""
        # The sign of (cost - budget) is exact; cost / budget - 1 could round an excess to 0.
        columns = [(sums.evaluate(genes) - most) / most for sums, most in self.sums.values()]
        return np.stack(columns, axis=1) if columns else np.empty((len(genes), 0))

    def feasible(self, genes: GeneMatrix) -> npt.NDArray[np.bool_]:
        """Which rows meet every limit, (N,)."""
        met: npt.NDArray[np.bool_] = np.all(self.violations(genes) <= 0, axis=1)
        return met

    def anchor(self) -> GeneMatrix:
        """A network that meets every limit, (G,).

        A single limit is decided exactly by the floor of its cost. For several, the minimum of a
        weighted sum of relative costs is exact too; if it exceeds the weighted budgets for some
        weights, no network meets all limits (weak duality).

        Raises:
            Infeasible: if no network meets the limits, or none was found.
        """
        if not self.limits:
            return np.zeros(len(self.space.genes), np.uint8)
        for name, budget in self.limits.items():
            if (floor := self.costs[name].floor()) > budget:
                raise Infeasible(name, budget, floor, self._with_others(name, floor))
        candidates = [self.costs[name].floor_genes for name in self.limits]
        weights = np.full(len(self.limits), 1 / len(self.limits))
        models = {name: sums for name, (sums, _) in self.sums.items()}
        most = np.array([budget for _, budget in self.sums.values()])
        for _ in range(DUAL_ROUNDS):
            row = weighted(models, dict(zip(models, weights / most, strict=True))).floor_genes
            candidates.append(row)
            excess = self.violations(row[None])[0]
            if (excess <= 0).all() or weights @ excess > 1e-9:
                break
            # Multiplicative weights update: limits that are exceeded most gain weight.
            weights = weights * np.exp(np.clip(2 * excess, -1, 1))
            weights /= weights.sum()
        return self._descend(np.array(candidates))

    def _with_others(self, name: str, floor: float) -> Mapping[str, float]:
        """Budgets that can be met together, the budget of `name` raised to its floor."""
        raised = {**self.limits, name: floor}
        try:
            replace(self, limits=raised).anchor()
        except Infeasible as error:
            return error.nearest
        return raised

    def _descend(self, candidates: GeneMatrix) -> GeneMatrix:
        """Greedy descent of the largest violation, from the best candidate until feasible."""
        excess = self.violations(candidates).max(axis=1)
        row: GeneMatrix
        row, worst = candidates[excess.argmin()], float(excess.min())
        for _ in range(DESCENT_ROUNDS):
            if worst <= 0:
                return row
            around = neighbours(self.space, row).genes
            excess = self.violations(around).max(axis=1)
            if excess.min() >= worst:
                break
            row, worst = around[excess.argmin()], float(excess.min())
        name = list(self.limits)[int(self.violations(row[None])[0].argmax())]
        needs = {other: float(self.costs[other].evaluate(row[None])[0]) for other in self.limits}
        nearest = {other: max(needs[other], budget) for other, budget in self.limits.items()}
        raise Infeasible(name, self.limits[name], needs[name], nearest, alone=False)


class Evaluator:
    """Evaluates networks with the predictor and counts them."""

    def __init__(self, problem: SubnetProblem) -> None:
        self.problem = problem
        self.evaluations = 0
        """Networks evaluated so far."""

    def __call__(self, genes: GeneMatrix) -> Floats:
        """Predicted top-1 of each row, percent, (N,)."""
        self.evaluations += len(genes)
        return self.problem.evaluate(genes)

"""The optimization problem of a search: the most accurate network within limits.

Shapes: N networks, G genes, C limits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.errors import Infeasible, InputError, NotFound, SubnetSearchError
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Cost, CostModel, Floats, weighted
from search.evolution.enumeration import every_network, is_small
from search.evolution.operators import neighbours
from search.predictors import AccuracyPredictor

DUAL_ROUNDS = 64
DESCENT_ROUNDS = 64
RANGE_SAMPLES = 2000
"""Random networks, the nearest of which are starts of a descent into a range."""
RANGE_STARTS = 16


@dataclass(frozen=True, eq=False)
class SubnetProblem:
    """Maximise predicted top-1 over `space` where `minimums[name] <= costs[name] <= limits[name]`.

    What a user froze is no part of the problem: `space` is then a part of the supernet's space.
    """

    space: SearchSpace
    predictor: AccuracyPredictor
    costs: Mapping[str, Cost]
    """By name; costs without a limit are only reported."""
    limits: Mapping[str, float]
    minimums: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, budget in (*self.limits.items(), *self.minimums.items()):
            if name not in self.costs:
                raise NotFound.named("limit", name, self.costs)
            if isinstance(budget, bool) or not isinstance(budget, int | float):
                raise InputError(f"{name}: expected a number, got {budget!r}")
            if not (math.isfinite(budget) and budget > 0):
                raise InputError(f"{name}: expected a positive finite budget, got {budget}")
        for name, least in self.minimums.items():
            if least > (most := self.limits.get(name, math.inf)):
                raise InputError(
                    f"{name}: expected a range from the smaller to the larger number, got "
                    f"{least:g} to {most:g}"
                )

    def without_slack(self) -> SubnetProblem:
        """The same problem, no limit above the largest cost in the space, and no minimum that
        every network meets: so all budgets that no longer limit have one answer."""
        tight = {
            name: min(most, max(self.costs[name].ceiling(), self.minimums.get(name, 0.0)))
            for name, most in self.limits.items()
        }
        least = {n: value for n, value in self.minimums.items() if value > self.costs[n].floor()}
        return replace(self, limits=tight, minimums=least)

    def limiting(self) -> int:
        """The number of limits that not every network meets."""
        return sum(most < self.costs[name].ceiling() for name, most in self.limits.items())

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
        """Each limit, and then each minimum, as a sum of small tables and the largest value
        allowed, which is negative for a minimum."""
        upper = {name: self.costs[name].within(budget) for name, budget in self.limits.items()}
        lower = {f"least {n}": self.costs[n].at_least(value) for n, value in self.minimums.items()}
        return {**upper, **lower}

    def violations(self, genes: GeneMatrix) -> Floats:
        """How far each row is over each limit and below each minimum, a share of it, (N, C);
        <= 0 meets it."""
        # The sign of (cost - budget) is exact; cost / budget - 1 could round an excess to 0.
        columns = [(sums.evaluate(genes) - most) / abs(most) for sums, most in self.sums.values()]
        return np.stack(columns, axis=1) if columns else np.empty((len(genes), 0))

    def load(self, genes: GeneMatrix) -> Floats:
        """The largest violation of each row, (N,); without limits -1: none of a budget is used."""
        violations_NC = self.violations(genes)
        if not violations_NC.shape[1]:
            return np.full(len(genes), -1.0)
        # By columns, which is faster for many short rows.
        load: Floats = functools.reduce(np.maximum, violations_NC.T)
        return load

    def feasible(self, genes: GeneMatrix) -> npt.NDArray[np.bool_]:
        """Which rows meet every limit, (N,)."""
        met: npt.NDArray[np.bool_] = np.all(self.violations(genes) <= 0, axis=1)
        return met

    def anchor(self) -> GeneMatrix:
        """A network that meets every limit, (G,).

        A single limit is decided exactly by the floor of its cost. For several, the minimum of a
        weighted sum of relative costs is exact too; if it exceeds the weighted budgets for some
        weights, no network meets all limits (weak duality). A small space is enumerated.

        Raises:
            Infeasible: if no network meets the limits, or none was found.
        """
        if not self.sums:
            return np.zeros(len(self.space.genes), np.uint8)
        for name, budget in self.limits.items():
            if (floor := self.costs[name].floor()) > budget:
                raise Infeasible(name, budget, floor, self._with_others(name, floor))
        for name, least in self.minimums.items():
            if (ceiling := self.costs[name].ceiling()) < least:
                raise Infeasible.above(name, least, ceiling)
        if (self.minimums or len(self.sums) > 1) and is_small(self.space):
            return self._descend(every_network(self.space))
        models = {name: sums for name, (sums, _) in self.sums.items()}
        most = np.array([abs(budget) for _, budget in self.sums.values()])
        candidates = [self.costs[name].floor_genes for name in self.limits]
        weights = np.full(len(models), 1 / len(models))
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
            replace(self, limits=raised, minimums={}).anchor()
        except Infeasible as error:
            return error.nearest
        return raised

    def _descend(self, candidates: GeneMatrix) -> GeneMatrix:
        """Greedy descent of the largest violation, from the best candidates until feasible."""
        starts = 1
        if self.minimums and not is_small(self.space):
            # A narrow range may lie between the values of all networks near one.
            starts = RANGE_STARTS
            sampled = self.space.sample_tilted(RANGE_SAMPLES, 1.0, np.random.default_rng(0))
            candidates = np.vstack([candidates, sampled])
        order = np.argsort(self.violations(candidates).max(axis=1), kind="stable")
        ends = []
        for row in candidates[order[:starts]]:
            ends.append(self._descent_from(row))
            if self.feasible(ends[-1][None])[0]:
                return ends[-1]
        excess = self.violations(np.array(ends)).max(axis=1)
        raise self._nearest_to(ends[int(excess.argmin())])

    def _descent_from(self, row: GeneMatrix) -> GeneMatrix:
        """The end of the descent from `row`, by one change a step; of ranges, also by two."""
        worst = float(self.violations(row[None]).max())
        for _ in range(DESCENT_ROUNDS):
            if worst <= 0:
                break
            around = neighbours(self.space, row)
            nearer, excess = around.genes, self.violations(around.genes).max(axis=1, initial=-1)
            if self.minimums and excess.min(initial=np.inf) >= worst:
                nearer = around.pairs(self.space)
                excess = self.violations(nearer).max(axis=1, initial=-1)
            if excess.min(initial=np.inf) >= worst:
                break
            row, worst = nearer[excess.argmin()], float(excess.min())
        return row

    def _nearest_to(self, row: GeneMatrix) -> Infeasible:
        """The error of a problem to which `row` comes nearest."""
        values = {name: float(self.costs[name].evaluate(row[None])[0]) for name in self.costs}
        name = list(self.sums)[int(self.violations(row[None])[0].argmax())].removeprefix("least ")
        least = self.minimums.get(name, 0.0)
        if values[name] < least:
            which = "network found that comes nearest to meeting all limits"
            return Infeasible.above(name, least, values[name], which)
        nearest = {other: max(values[other], budget) for other, budget in self.limits.items()}
        return Infeasible(name, self.limits[name], values[name], nearest, alone=False)


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

"""The cheapest network of at least a given accuracy: the search within limits, turned around.

1. If no network that is known reaches the target, a search that does not depend on seed or effort.
2. Searches under budgets that bracket the least cost at which the target is met.
3. Exchange: from the networks nearest to the target, changes of one and of two units that lower the
   cost and keep the accuracy.
4. Searches just below the best cost so far, with other seeds, until they find nothing better.

Every network that the predictor evaluates on the way is a candidate.

Shapes: N networks, G genes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.errors import Infeasible, InputError, NotFound
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Cost, Floats
from search.evolution import (
    DEFAULT_EFFORT,
    Effort,
    SearchProgress,
    SearchResult,
    SubnetProblem,
    every_network,
    is_small,
    neighbours,
    search_subnet,
)
from search.predictors import AccuracyPredictor, Provenance, warm_start_pool_of

REACH_SEED = 0
"""Of the search that decides whether a target can be reached, at `DEFAULT_EFFORT`."""
BRACKETS = 9
"""Most searches that bracket the least cost."""
CLOSE = 1.003
"""Ratio of budgets at which the bracket is narrow enough."""
RETRIES = 3
"""Searches in a row, just below the best cost, that find nothing better."""
MAX_RETRIES = 9
BELOW = 0.998
"""Of the best cost: the budget of a retry."""
NEAR_POINTS = 0.3
"""How far below the target a network may be to be kept as a start of exchanges, points."""
NEAR_COST = 1.06
"""Of the best cost: the most that such a network costs."""
KEPT = 400
"""Such networks, those of the least cost corrected for what they are below the target."""
STARTS = 10
"""Of them, from which a round of exchanges starts."""
STEPS = 24
MAX_PAIRS = 1000
"""Pairs of changes that are evaluated in a step of an exchange, the cheapest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An accuracy to be reached at the least cost."""

    top1: float
    """Least predicted accuracy, percent."""
    minimize: str = "latency_ms"
    """The cost."""


def search_cheapest(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    costs: Mapping[str, Cost],
    limits: Mapping[str, float],
    target: Target,
    seed: int,
    *,
    minimums: Mapping[str, float] | None = None,
    effort: Effort = DEFAULT_EFFORT,
    known: GeneMatrix | None = None,
    clock: Callable[[], float] = time.perf_counter,
    on_progress: Callable[[SearchProgress], None] = lambda progress: None,
) -> SearchResult:
    """Find the network of the least `target.minimize` whose predicted top-1 is `target.top1` or
    more and that meets every limit.

    Args:
        costs, limits, minimums, seed, clock, on_progress: as of `search_subnet`.
        effort: of the searches near the least cost.
        known: good networks to start from, (K, G), canonical. The answer costs no more than the
            cheapest of them that reaches the target within the limits.

    Raises:
        Infeasible: as `check_target`.
        NotFound, InputError: if the target or a limit is not valid.
    """
    start = clock()
    problem = SubnetProblem(space, predictor, costs, limits, minimums or {})
    known = space.encode([]) if known is None else known
    seen = _Seen(problem, target)
    search = _TargetSearch(seen, known, seed, effort, clock, start, on_progress)
    seen.predict(known)
    seen.reach(lambda: known, search.report)
    if not is_small(space):
        search.run()
    row = seen.best
    assert row is not None
    return SearchResult(
        genes=row,
        arch=space.decode(row[None])[0],
        top1=float(predictor.predict(row[None])[0]),
        costs={name: float(model.evaluate(row[None])[0]) for name, model in costs.items()},
        evaluations=seen.evaluations,
        generations=search.generations,
        seconds=clock() - start,
        seed=seed,
        reason="terminated",
    )


def check_target(problem: SubnetProblem, target: Target, known: Callable[[], GeneMatrix]) -> None:
    """Refuse a target that `search_cheapest` refuses, whatever the seed and effort of that.

    Args:
        known: as `search_cheapest` takes it; called only if other networks do not reach the target.

    Raises:
        Infeasible: if no network meets the limits, or none was found that reaches the target;
            the error then has the best accuracy that was.
        NotFound, InputError: if the target is not valid.
    """
    _Seen(problem, target).reach(known)


@dataclass(eq=False)
class _Seen:
    """The predictor, remembering what matters of the networks that it has evaluated."""

    problem: SubnetProblem
    target: Target
    evaluations: int = 0
    best: GeneMatrix | None = None
    """Of the least cost that reaches the target and meets the limits, (G,)."""
    best_cost: float = math.inf
    best_top1: float = -math.inf
    """Of any network that meets the limits, percent."""
    near: dict[bytes, tuple[float, float]] = field(default_factory=dict)
    """Cost and top-1 of networks near the target and the best cost."""

    def __post_init__(self) -> None:
        if self.target.minimize not in self.problem.costs:
            raise NotFound.named("limit", self.target.minimize, self.problem.costs)
        if not 0 < self.target.top1 <= 100:
            top1 = self.target.top1
            raise InputError(f"top1: expected above 0, up to 100 percent, got {top1:g}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.problem.predictor, name)  # slopes and pool, where it has them

    @property
    def provenance(self) -> Provenance:
        """See `AccuracyPredictor`."""
        return self.problem.predictor.provenance

    def predict(self, genes: GeneMatrix) -> Floats:
        """See `AccuracyPredictor`."""
        top1 = self.problem.evaluate(genes)
        self.evaluations += len(genes)
        rows = np.flatnonzero(top1 >= min(self.target.top1 - NEAR_POINTS, self.best_top1))
        rows = rows[self.problem.feasible(genes[rows])]
        if len(rows):
            self._add(genes[rows], top1[rows])
        return top1

    def reach(
        self,
        known: Callable[[], GeneMatrix],
        on_progress: Callable[[SearchProgress], None] = lambda progress: None,
    ) -> None:
        """Evaluate networks until one has reached the target, see `check_target`."""
        problem, space = self.problem, self.problem.space
        problem.anchor()  # refuses limits that no network meets
        if is_small(space):
            self.predict(every_network(space))
        else:
            pool = warm_start_pool_of(problem.predictor, space)
            self.predict(np.vstack([space.encode([space.largest]), pool]))
            if self.best is None:
                search_subnet(
                    space, self, problem.costs, problem.limits, REACH_SEED,
                    minimums=problem.minimums, known=known(), on_progress=on_progress,
                )  # fmt: skip
        if self.best is None:
            which = "most accurate network found within the limits"
            raise Infeasible.above("top1", self.target.top1, self.best_top1, which)

    def cost(self, genes: GeneMatrix) -> Floats:
        """What is minimised, of each row, (N,)."""
        return self.problem.costs[self.target.minimize].evaluate(genes)

    def _add(self, genes: GeneMatrix, top1: Floats) -> None:
        cost = self.cost(genes)
        self.best_top1 = max(self.best_top1, float(top1.max()))
        reached = np.where(top1 >= self.target.top1, cost, np.inf)
        if reached.min() < self.best_cost:
            self.best, self.best_cost = genes[reached.argmin()].copy(), float(reached.min())
        close = (cost <= NEAR_COST * self.best_cost) & (top1 >= self.target.top1 - NEAR_POINTS)
        for i in np.flatnonzero(close):
            self.near[genes[i].tobytes()] = float(cost[i]), float(top1[i])
        if len(self.near) > 4 * KEPT:
            self.near = {row: self.near[row] for row in self.ranked()[:KEPT]}

    def ranked(self) -> list[bytes]:
        """The networks near, by their cost corrected for what they are below the target: as much
        accuracy again costs a share of the cost that the bracket's ends show."""

        def corrected(row: bytes) -> tuple[float, bytes]:
            cost, top1 = self.near[row]
            short = max(0.0, self.target.top1 - top1) / NEAR_POINTS
            return cost * (1 + (NEAR_COST - 1) * short), row

        return sorted(self.near, key=corrected)


@dataclass(eq=False)
class _TargetSearch:
    """Steps 2 to 4; what they find is in `seen`, which has a network that reaches the target."""

    seen: _Seen
    known: GeneMatrix
    seed: int
    effort: Effort
    clock: Callable[[], float]
    start: float
    on_progress: Callable[[SearchProgress], None]
    generations: int = 0
    searches: int = 0
    _share: float = 0.0
    _exchanged: set[bytes] = field(default_factory=set)

    def run(self) -> None:
        """Fill `seen`."""
        problem = self.seen.problem
        cost = problem.costs[self.seen.target.minimize]
        self._bracket(max(cost.floor(), problem.minimums.get(self.seen.target.minimize, 0.0)))
        self._exchange()
        failures = 0
        least = problem.minimums.get(self.seen.target.minimize, 0.0)
        for retry in range(MAX_RETRIES):
            before = self.seen.best_cost
            if BELOW * before < least:
                return  # the best is at the lower end of the range
            try:
                self._search(BELOW * before, self.seed + 1 + retry, self.effort)
            except Infeasible:
                return  # the best is at the floor
            self._exchange()
            failures = 0 if self.seen.best_cost < before else failures + 1
            if failures == RETRIES:
                return

    def _bracket(self, low: float) -> None:
        """Searches at budgets between the last one that missed the target and the best cost."""
        target, low_top1 = self.seen.target, None
        for _ in range(BRACKETS):
            high = self.seen.best_cost
            if high <= CLOSE * low:
                return
            share = 0.5
            if low_top1 is not None:
                # Accuracy by the logarithm of the cost is nearly a line this near.
                high_top1 = max(self.seen.near.get(self._best_key, (0, 0))[1], target.top1)
                share = (target.top1 - low_top1) / max(high_top1 - low_top1, 1e-9)
                share = min(max(share, 0.15), 0.85)
            budget = low * (high / low) ** share
            try:
                top1 = self._search(budget, self.seed, "quick")
            except Infeasible:
                low = budget
                continue
            if top1 < target.top1:
                low, low_top1 = budget, top1

    @property
    def _best_key(self) -> bytes:
        assert self.seen.best is not None
        return self.seen.best.tobytes()

    def _search(self, budget: float, seed: int, effort: Effort) -> float:
        """The accuracy of the most accurate network found within `budget`, percent."""
        problem, name = self.seen.problem, self.seen.target.minimize
        self.searches += 1
        found = search_subnet(
            problem.space, self.seen, problem.costs, {**problem.limits, name: budget}, seed,
            minimums=problem.minimums, effort=effort, known=self.known, on_progress=self.report,
        )  # fmt: skip
        self.generations += found.generations
        return found.top1

    def report(self, progress: SearchProgress) -> None:
        """Pass on how far a search is, as a part of all of them."""
        expected = 1 + BRACKETS // 2 + RETRIES
        done = (self.searches - 1 + progress.share) / expected
        self._share = max(self._share, min(0.99, done))  # later generations may say less
        self.on_progress(
            replace(
                progress,
                generation=self.generations + progress.generation,
                evaluations=self.seen.evaluations,
                seconds=self.clock() - self.start,
                share=self._share,
            )
        )

    def _exchange(self) -> None:
        """Exchanges from the networks nearest to the target that were no start before."""
        rows = [row for row in self.seen.ranked()[:KEPT] if row not in self._exchanged]
        for row in rows[:STARTS]:
            self._exchanged.add(row)
            self._descend(np.frombuffer(row, np.uint8))

    def _descend(self, row: GeneMatrix) -> None:
        """Lower the cost by one change or two as long as the target is met after it."""
        seen, target = self.seen, self.seen.target.top1
        space = seen.problem.space
        for _ in range(STEPS):
            cost, top1 = seen.cost(row[None])[0], float(seen.predict(row[None])[0])
            around = neighbours(space, row)
            if not len(around.genes):
                return
            gain, extra = seen.predict(around.genes) - top1, seen.cost(around.genes) - cost
            most = cost if top1 >= target else seen.best_cost
            better = self._cheapest(around.genes, most)
            if better is None:
                first, second = np.nonzero(np.triu(around.unit[:, None] != around.unit))
                estimate, sum_cost = gain[first] + gain[second], extra[first] + extra[second]
                worth = np.flatnonzero((top1 + estimate >= target) & (cost + sum_cost < most))
                worth = worth[np.argsort(sum_cost[worth], kind="stable")][:MAX_PAIRS]
                first, second = first[worth], second[worth]
                both = np.where(around.changed[second], around.genes[second], around.genes[first])
                better = self._cheapest(space.canonical(both), most)
            if better is None:
                return
            row = better

    def _cheapest(self, genes: GeneMatrix, most: float) -> GeneMatrix | None:
        """The cheapest of the rows below `most` that reaches the target; None if there is none."""
        if not len(genes):
            return None
        top1, cost = self.seen.predict(genes), self.seen.cost(genes)
        reached = (top1 >= self.seen.target.top1) & self.seen.problem.feasible(genes)
        cost = np.where(reached, cost, np.inf)
        best: GeneMatrix = genes[cost.argmin()]
        return best if cost.min() < most else None

"""How much better any network within the limits could be, where that can be proved.

Two proofs are known. A small space is enumerated. For a predictor that is a sum of small tables,
Lagrangian duality holds: for any prices p >= 0 of the limits,

    max of top1 within limits  <=  max over the whole space of  top1 - p * (cost - budget)

and the right side is exact (`search.costs.costs.minimise`); prices only decide how tight it is. For
the other predictors no useful bound is known: relaxing a published network of three hidden layers
gives bounds far above 100 %, and so does bounding a Gaussian process point by point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, weighted
from search.evolution.problem import Evaluator
from search.evolution.surrogate import AdditivePredictor

ENUMERATED = 50_000
"""Gene combinations up to which a space is enumerated."""
PRICE_SWEEPS = 4
PRICE_ROUNDS = 30
LOWEST_PRICE, HIGHEST_PRICE = 1e-6, 1e6
"""Points of accuracy for being a whole budget over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is proved about the best network within the limits."""

    method: Literal["enumeration", "lagrangian", "none"]
    bound: float | None
    """No network within the limits is predicted to have more, percent; None: nothing proved."""
    gap: float | None
    """From the answer to the bound, points."""
    holds_for: str
    """The kind of predictor whose values are bounded."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @property
    def in_words(self) -> str:
        """For people."""
        if self.gap is None:
            return f"none: no bound is known for a predictor of the kind {self.holds_for}"
        return f"at most {self.gap:.3g} points from the best ({self.method})"


def certify(evaluate: Evaluator, top1: float) -> Certificate:
    """What can be proved about an answer to the evaluator's problem that is predicted to have
    `top1`, percent."""
    kind = evaluate.problem.predictor.provenance.kind
    bound, method = upper_bound(evaluate)
    if bound is None:
        return Certificate(method="none", bound=None, gap=None, holds_for=kind)
    # The bound is proved up to rounding; an answer is within the limits, so it is a bound too.
    bound = max(bound, top1)
    return Certificate(method=method, bound=bound, gap=bound - top1, holds_for=kind)


def upper_bound(
    evaluate: Evaluator,
) -> tuple[float | None, Literal["enumeration", "lagrangian", "none"]]:
    """No network within the limits has more predicted accuracy than this, percent."""
    problem = evaluate.problem
    if int(np.prod(problem.space.n_choices.astype(float))) <= ENUMERATED:
        genes = every_network(problem.space)
        return float(evaluate(genes[problem.feasible(genes)]).max()), "enumeration"
    if isinstance(problem.predictor, AdditivePredictor):
        return _dual(problem.predictor.model, problem.sums), "lagrangian"
    return None, "none"


def every_network(space: SearchSpace) -> GeneMatrix:
    """Every network of a small space once, canonical, (N, G)."""
    shape = tuple(int(n) for n in space.n_choices)
    raw = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1).astype(np.uint8)
    return np.unique(space.canonical(raw), axis=0)


def _dual(top1: CostModel, sums: Mapping[str, tuple[CostModel, float]]) -> float:
    """The least dual bound found, by bisection of one price after the other.

    With the other prices fixed the bound is convex in a price, and its slope is what the best
    network leaves of that budget.
    """
    prices = dict.fromkeys(sums, 0.0)

    def best(prices: Mapping[str, float]) -> tuple[float, GeneMatrix]:
        models = {"": top1, **{name: model for name, (model, _) in sums.items()}}
        weights = {name: price / sums[name][1] for name, price in prices.items()}
        priced = weighted(models, {"": -1.0, **weights})
        return -priced.floor() + sum(prices.values()), priced.floor_genes[None]

    least, genes = best(prices)
    for _ in range(PRICE_SWEEPS if len(sums) > 1 else 1):
        for name, (model, budget) in sums.items():
            low, high = np.log(LOWEST_PRICE), np.log(HIGHEST_PRICE)
            for _ in range(PRICE_ROUNDS):
                prices[name] = float(np.exp((low + high) / 2))
                bound, genes = best(prices)
                least = min(least, bound)
                if float(model.evaluate(genes)[0]) > budget:
                    low = np.log(prices[name])
                else:
                    high = np.log(prices[name])
    return least

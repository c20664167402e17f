"""Good networks to start a search from, without any search.

An additive surrogate of the predictor is fitted on networks near the limits; where every
limited cost has a price, its best network under a fixed frame is exact (`search.frames`). Prices
are moved until costs meet their limits, for many frames and many slightly shaken surrogates at
once. What the predictor says of the networks found improves the surrogate, and both repeat.

Shapes: N architectures, I frames, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.space import GeneMatrix
from search.costs import Floats
from search.frames import BlockTable, Frames
from search.problem import SubnetProblem
from search.surrogate import fit_additive

Evaluate = Callable[[GeneMatrix], Floats]

TILT = 1.5
"""Spread of the random networks' tilts."""
GAP_WEIGHT = 5.0
"""Standard deviations of accuracy that being a whole budget off counts for."""
PRICE_ROUNDS = 16
PRICE_STEP = 2.0
PRICE_DECAY = 0.75
KEPT_ROUNDS = 8
"""Of the price rounds, the last, whose networks are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartSettings:
    """How much work a warm start is."""

    candidates: int = 1500
    """Random networks whose costs are asked."""
    judged: int = 500
    """Of them, the nearest to the limits: asked of the predictor."""
    rounds: int = 4
    """Times the surrogate is fitted."""
    fitted: int = 1500
    """Networks that a surrogate is fitted on, the best and nearest."""
    frames: int = 6
    """Frames of each resolution that are priced in a round."""
    noise: float = 0.3
    """Of the shaken surrogates, in standard deviations of their weights."""
    ridge: float = 1e-2


def warm_start(
    problem: SubnetProblem,
    evaluate: Evaluate,
    settings: WarmStartSettings,
    rng: np.random.Generator,
) -> tuple[GeneMatrix, Floats]:
    """Judged networks on both sides of the limits, canonical (N, G), and their top-1 (N,)."""
    space, frames = problem.space, Frames(problem.space)
    costs = {name: frames.split(sums) for name, (sums, _) in problem.sums.items()}
    genes = _near(problem, settings, rng)
    top1 = evaluate(genes)
    surrogate = None
    for round_ in range(settings.rounds):
        gap = np.abs(_worst(problem, genes))
        spread = max(float(top1.std()), 1e-9)
        score = (top1 - top1.max()) / spread - GAP_WEIGHT * gap
        order = np.argsort(-score, kind="stable")
        best = order[: settings.fitted]
        weights = np.exp(score[best] - score[best[0]]) if round_ else None
        surrogate = fit_additive(
            space, genes[best], top1[best], weights=weights, ridge=settings.ridge, prior=surrogate
        )
        rows = _frame_rows(frames, genes[order], settings.frames)
        value_IBDK = frames.gather(frames.split(surrogate), rows)
        shake = rng.normal(0, settings.noise * value_IBDK.std(), value_IBDK.shape)
        shake[:: settings.frames] = 0  # one of each resolution trusts the surrogate
        new = np.unique(_priced(problem, frames, costs, value_IBDK + shake, rows), axis=0)
        genes, top1 = np.vstack([genes, new]), np.concatenate([top1, evaluate(new)])
    return genes, top1


def _near(
    problem: SubnetProblem, settings: WarmStartSettings, rng: np.random.Generator
) -> GeneMatrix:
    """Random networks of every resolution, those nearest to the limits, and a feasible one."""
    space = problem.space
    genes = space.sample_tilted(settings.candidates, TILT, rng)
    gap = np.abs(_worst(problem, genes))
    nearest = np.lexsort((gap, genes[:, 0]))
    place = _place(genes[nearest, 0])
    each = -(-settings.judged // len(space.resolutions))
    return np.unique(np.vstack([problem.anchor(), genes[nearest[place < each]]]), axis=0)


def _worst(problem: SubnetProblem, genes: GeneMatrix) -> Floats:
    """How far each row is over its tightest limit, relative; 0 where nothing is limited."""
    if not problem.limits:
        return np.zeros(len(genes))
    worst: Floats = problem.violations(genes).max(axis=1)
    return worst


def _frame_rows(frames: Frames, genes: GeneMatrix, count: int) -> GeneMatrix:
    """For each resolution, `count` rows of different frames, the first ones of `genes`, over
    and over where there are fewer."""
    _, first = np.unique(genes[:, frames.columns], axis=0, return_index=True)
    rows = genes[np.sort(first)]
    found = [rows[rows[:, 0] == r][:count] for r in np.unique(rows[:, 0])]
    return np.vstack([np.resize(part, (count, part.shape[1])) for part in found])


def _priced(
    problem: SubnetProblem,
    frames: Frames,
    costs: Mapping[str, Sequence[BlockTable]],
    value_IBDK: Floats,
    rows: GeneMatrix,
) -> GeneMatrix:
    """Networks of most value when every limited cost has a price, canonical, distinct.

    Prices rise while their limit is broken and fall while it is met, by shrinking steps: a
    Lagrangian search, for the frame of each of `rows` its own.
    """
    if not problem.limits:
        return frames.minimise(-value_IBDK, rows)
    paid = [frames.gather(costs[name], rows) / most for name, (_, most) in problem.sums.items()]
    # Accuracy points per budget: from the whole span being worth one budget.
    span = np.ptp(value_IBDK, axis=(2, 3)).sum(axis=1) + 1e-9
    log_price_IC = np.tile(np.log(span)[:, None], (1, len(paid)))
    found, step = [], PRICE_STEP
    for _ in range(PRICE_ROUNDS):
        objective = -value_IBDK
        for c, cost in enumerate(paid):
            objective = objective + np.exp(log_price_IC[:, c])[:, None, None, None] * cost
        found.append(frames.minimise(objective, rows))
        log_price_IC += step * np.sign(problem.violations(found[-1]))
        step *= PRICE_DECAY
    return np.vstack(found[-KEPT_ROUNDS:])


def _place(groups: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Position of each entry among those of its group, groups being contiguous."""
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    return np.arange(len(groups)) - np.repeat(first, sizes)

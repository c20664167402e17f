"""Good networks to start a search from, found without a search.

An additive surrogate of the predictor is fitted to networks near the limits. With a price on every
limited cost, the surrogate's best network under a fixed frame is exact
(`search.evolution.block_decomposition`). Prices are adjusted until costs meet their limits, for
many frames at once and with noise on the surrogate, for variety. The predictor's values of these
networks improve the surrogate, and both steps repeat.

Several *groups* start side by side, each with networks and a surrogate of its own. Finally the
predictor's warm-start pool (`search.evolution.warm_start_pool`) joins every group.

Shapes: N networks, I frames, G genes, B blocks, D depths, K kinds, C limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix
from search.costs import CostModel, Floats
from search.evolution.block_decomposition import BlockDecomposition, BlockTable
from search.evolution.operators import keys, rank_in_group
from search.evolution.problem import SubnetProblem
from search.evolution.surrogate import fit_additive
from search.predictors import warm_start_pool_of

Ints = npt.NDArray[np.int64]
Evaluate = Callable[[GeneMatrix], Floats]

TILT = 1.5
"""Spread of the tilts of random networks (`SearchSpace.sample_tilted`)."""
GAP_WEIGHT = 5.0
"""Being a whole budget away from a limit counts as this many standard deviations of accuracy."""
PRICE_ROUNDS = 16
PRICE_STEP = 2.0
PRICE_DECAY = 0.75
KEPT_ROUNDS = 8
"""The last of the price rounds, whose networks are evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartSettings:
    """How much work a warm start is."""

    groups: int = 4
    """Isolated starts."""
    candidates: int = 500
    """Random networks of each group whose costs are computed."""
    evaluated: int = 300
    """Those of them nearest to the limits, which the predictor evaluates."""
    rounds: int = 2
    """Times that the surrogate is fitted."""
    fitted: int = 1500
    """Most networks that a surrogate is fitted to, the best and nearest to the limits."""
    frames: int = 6
    """Frames of each resolution in a round."""
    noise: float = 0.3
    """Of the surrogate's weights, in their standard deviations."""
    ridge: float = 1e-2
    pool_slack: float = 0.3
    """How far over a limit a network of the warm-start pool may be, a share of the limit."""


class Start(NamedTuple):
    """Evaluated networks on both sides of the limits."""

    genes: GeneMatrix
    """(N, G), canonical; distinct within a group."""
    top1: Floats
    """Their accuracies, percent, (N,)."""
    group: Ints
    """0, 1, ... of each, (N,)."""
    price_C: Floats
    """Approximate accuracy gained by a whole budget more of each limit, percentage points."""


def warm_start(
    problem: SubnetProblem,
    evaluate: Evaluate,
    settings: WarmStartSettings,
    rng: np.random.Generator,
) -> Start:
    """A start for each group, at least one network of each within the limits."""
    blocks = BlockDecomposition(problem.space)
    costs = {name: blocks.split(sums) for name, (sums, _) in problem.sums.items()}
    genes, group = _near_limits(problem, settings, rng)
    top1 = evaluate(genes)
    surrogates: list[CostModel | None] = [None] * settings.groups
    price_C = np.zeros(len(problem.sums))
    for _ in range(settings.rounds):
        gap = np.abs(_worst(problem, genes))
        rows, values = [], []
        for g, prior in enumerate(surrogates):
            own = np.flatnonzero(group == g)
            std = max(float(top1[own].std()), 1e-9)
            score = (top1[own] - top1[own].max()) / std - GAP_WEIGHT * gap[own]
            order = np.argsort(-score, kind="stable")
            best = own[order[: settings.fitted]]
            weights = None if prior is None else np.exp(np.sort(score)[::-1][: len(best)])
            surrogates[g] = surrogate = fit_additive(
                problem.space, genes[best], top1[best],
                weights=weights, ridge=settings.ridge, prior=prior,
            )  # fmt: skip
            rows.append(_distinct_frames(blocks, genes[own[order]], settings.frames))
            values.append(blocks.gather(blocks.split(surrogate), rows[-1]))
        counts = [len(part) for part in rows]
        value_IBDK = np.vstack(values)
        noise_I = settings.noise * np.repeat([value.std() for value in values], counts)
        noise_IBDK = rng.normal(0, 1, value_IBDK.shape) * noise_I[:, None, None, None]
        noise_IBDK[:: settings.frames] = 0  # the first frame of each resolution is without noise
        frame_rows = np.vstack(rows)
        optima, frame, price_IC = _lagrangian(
            problem, blocks, costs, value_IBDK + noise_IBDK, frame_rows
        )
        optima_group = np.repeat(np.arange(settings.groups), counts)[frame]
        known = len(genes)
        genes, group = _distinct(np.vstack([genes, optima]), np.concatenate([group, optima_group]))
        top1 = np.concatenate([top1, evaluate(genes[known:])])
        exact, met = np.arange(0, len(frame_rows), settings.frames), problem.feasible(genes)
        best_row = genes[met][top1[met].argmax()]
        exact = exact[frame_rows[exact, 0] == best_row[0]]
        price_C = np.median(price_IC[exact], axis=0)
    pool, known = warm_start_pool_of(problem.predictor, problem.space), len(genes)
    pool = pool[_worst(problem, pool) <= settings.pool_slack]
    if len(pool):
        genes, group = _distinct(
            np.vstack([genes, *[pool] * settings.groups]),
            np.r_[group, np.repeat(np.arange(settings.groups), len(pool))],
        )
        top1 = np.concatenate([top1, evaluate(genes[known:])])
    return Start(genes, top1, group, price_C)


def _near_limits(
    problem: SubnetProblem, settings: WarmStartSettings, rng: np.random.Generator
) -> tuple[GeneMatrix, Ints]:
    """Of random networks of every resolution the nearest to the limits, dealt to the groups, and
    for each group a feasible one."""
    space, groups = problem.space, settings.groups
    genes = space.sample_tilted(settings.candidates * groups, TILT, rng)
    gap = np.abs(_worst(problem, genes))
    nearest = np.lexsort((gap, genes[:, 0]))
    rank = rank_in_group(genes[nearest, 0])
    each = -(-settings.evaluated // len(space.resolutions))
    chosen = nearest[rank < groups * each]
    anchors = np.tile(problem.anchor(), (groups, 1))
    return _distinct(
        np.vstack([anchors, genes[chosen]]),
        np.r_[np.arange(groups), rank_in_group(genes[chosen, 0]) % groups],
    )


def _distinct(genes: GeneMatrix, group: Ints) -> tuple[GeneMatrix, Ints]:
    """Each network of a group once, in their order."""
    _, first = np.unique(keys(genes, group), return_index=True)
    rows = np.sort(first)
    return genes[rows], group[rows]


def _worst(problem: SubnetProblem, genes: GeneMatrix) -> Floats:
    """The largest violation of each row, a share of the budget, (N,); 0 without limits."""
    if not problem.limits:
        return np.zeros(len(genes))
    worst: Floats = problem.violations(genes).max(axis=1)
    return worst


def _distinct_frames(blocks: BlockDecomposition, genes: GeneMatrix, count: int) -> GeneMatrix:
    """For each resolution, the first `count` of `genes` with different frames, repeated where there
    are fewer."""
    _, first = np.unique(genes[:, blocks.frame_columns], axis=0, return_index=True)
    rows = genes[np.sort(first)]
    parts = [rows[rows[:, 0] == r][:count] for r in np.unique(rows[:, 0])]
    return np.vstack([np.resize(part, (count, part.shape[1])) for part in parts])


def _lagrangian(
    problem: SubnetProblem,
    blocks: BlockDecomposition,
    costs: Mapping[str, Sequence[BlockTable]],
    value_IBDK: Floats,
    rows: GeneMatrix,
) -> tuple[GeneMatrix, Ints, Floats]:
    """Networks of the highest value less the price of their costs, canonical, (N, G).

    For the frame of each of `rows`, a price rises while its limit is exceeded and falls while it is
    met, by shrinking steps.

    Returns:
        The networks, the index in `rows` of each, and the last prices for each row, percentage
        points a budget, (I, C).
    """
    index = np.arange(len(rows))
    if not problem.sums:
        return blocks.minimise(-value_IBDK, rows), index, np.empty((len(rows), 0))
    relative = [
        blocks.gather(costs[name], rows) / abs(most) for name, (_, most) in problem.sums.items()
    ]
    # At first the whole range of values is worth one budget.
    value_range = np.ptp(value_IBDK, axis=(2, 3)).sum(axis=1) + 1e-9
    log_price_IC = np.tile(np.log(value_range)[:, None], (1, len(relative)))
    optima, step = [], PRICE_STEP
    for _ in range(PRICE_ROUNDS):
        objective = -value_IBDK
        for c, cost in enumerate(relative):
            objective = objective + np.exp(log_price_IC[:, c])[:, None, None, None] * cost
        optima.append(blocks.minimise(objective, rows))
        log_price_IC += step * np.sign(problem.violations(optima[-1]))
        step *= PRICE_DECAY
    return np.vstack(optima[-KEPT_ROUNDS:]), np.tile(index, KEPT_ROUNDS), np.exp(log_price_IC)

"""Good networks to start a search from, without any search.

An additive surrogate of the predictor is fitted on networks near the limits; where every
limited cost has a price, its best network under a fixed frame is exact
(`search.evolution.block_decomposition`). Prices are moved until costs meet their limits, for many
frames and many slightly shaken surrogates at once. What the predictor says of the networks found
improves the surrogate, and both repeat.

Several *groups* start side by side, each on networks and surrogates of its own. What the predictor
was found to rate high before (`search.evolution.warm_start_pool`) joins every group in the end.

Shapes: N architectures, I frames, G genes, B blocks, D depths, K kinds, C limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix
from search.costs import CostModel, Floats
from search.evolution.block_decomposition import BlockTable, Frames
from search.evolution.operators import keys, place
from search.evolution.problem import SubnetProblem
from search.evolution.surrogate import fit_additive
from search.predictors import warm_start_pool_of

Ints = npt.NDArray[np.int64]
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

    groups: int = 4
    """Starts that know nothing of each other."""
    candidates: int = 500
    """Random networks of each group whose costs are asked."""
    judged: int = 300
    """Of them, the nearest to the limits: asked of the predictor."""
    rounds: int = 2
    """Times the surrogate is fitted."""
    fitted: int = 1500
    """Networks that a surrogate is fitted on, the best and nearest."""
    frames: int = 6
    """Frames of each resolution that are priced in a round."""
    noise: float = 0.3
    """Of the shaken surrogates, in standard deviations of their weights."""
    ridge: float = 1e-2
    pool_slack: float = 0.3
    """How far over a limit a network of the warm-start pool may be, a share of the limit."""


class Start(NamedTuple):
    """Judged networks on both sides of the limits."""

    genes: GeneMatrix
    """(N, G), canonical; those of a group are distinct."""
    top1: Floats
    """Their accuracies, percent, (N,)."""
    group: Ints
    """0, 1, ... of each, (N,)."""
    price_C: Floats
    """About how much accuracy one whole budget more brings, percentage points, for each limit."""


def warm_start(
    problem: SubnetProblem,
    evaluate: Evaluate,
    settings: WarmStartSettings,
    rng: np.random.Generator,
) -> Start:
    """A start for each group; each has a network within the limits."""
    frames = Frames(problem.space)
    costs = {name: frames.split(sums) for name, (sums, _) in problem.sums.items()}
    genes, group = _near(problem, settings, rng)
    top1 = evaluate(genes)
    surrogates: list[CostModel | None] = [None] * settings.groups
    price_C = np.zeros(len(problem.limits))
    for _ in range(settings.rounds):
        gap = np.abs(_worst(problem, genes))
        rows, values = [], []
        for g, prior in enumerate(surrogates):
            own = np.flatnonzero(group == g)
            spread = max(float(top1[own].std()), 1e-9)
            score = (top1[own] - top1[own].max()) / spread - GAP_WEIGHT * gap[own]
            order = np.argsort(-score, kind="stable")
            best = own[order[: settings.fitted]]
            weights = None if prior is None else np.exp(np.sort(score)[::-1][: len(best)])
            surrogates[g] = surrogate = fit_additive(
                problem.space, genes[best], top1[best],
                weights=weights, ridge=settings.ridge, prior=prior,
            )  # fmt: skip
            rows.append(_frame_rows(frames, genes[own[order]], settings.frames))
            values.append(frames.gather(frames.split(surrogate), rows[-1]))
        each = [len(part) for part in rows]
        value_IBDK = np.vstack(values)
        noise = settings.noise * np.repeat([value.std() for value in values], each)
        shake = rng.normal(0, 1, value_IBDK.shape) * noise[:, None, None, None]
        shake[:: settings.frames] = 0  # one of each resolution trusts the surrogate
        frame_rows = np.vstack(rows)
        found, frame, price_IC = _priced(problem, frames, costs, value_IBDK + shake, frame_rows)
        in_group = np.repeat(np.arange(settings.groups), each)[frame]
        known = len(genes)
        genes, group = _distinct(np.vstack([genes, found]), np.concatenate([group, in_group]))
        top1 = np.concatenate([top1, evaluate(genes[known:])])
        trusted, met = np.arange(0, len(frame_rows), settings.frames), problem.feasible(genes)
        best = genes[met][top1[met].argmax()]
        trusted = trusted[frame_rows[trusted, 0] == best[0]]
        price_C = np.median(price_IC[trusted], axis=0)
    pool, known = warm_start_pool_of(problem.predictor, problem.space), len(genes)
    pool = pool[_worst(problem, pool) <= settings.pool_slack]
    if len(pool):
        genes, group = _distinct(
            np.vstack([genes, *[pool] * settings.groups]),
            np.r_[group, np.repeat(np.arange(settings.groups), len(pool))],
        )
        top1 = np.concatenate([top1, evaluate(genes[known:])])
    return Start(genes, top1, group, price_C)


def _near(
    problem: SubnetProblem, settings: WarmStartSettings, rng: np.random.Generator
) -> tuple[GeneMatrix, Ints]:
    """Random networks of every resolution, those nearest to the limits, dealt out to the groups,
    with a feasible one for each."""
    space, count = problem.space, settings.groups
    genes = space.sample_tilted(settings.candidates * count, TILT, rng)
    gap = np.abs(_worst(problem, genes))
    nearest = np.lexsort((gap, genes[:, 0]))
    at = place(genes[nearest, 0])
    each = -(-settings.judged // len(space.resolutions))
    chosen = nearest[at < count * each]
    anchors = np.tile(problem.anchor(), (count, 1))
    return _distinct(
        np.vstack([anchors, genes[chosen]]),
        np.r_[np.arange(count), place(genes[chosen, 0]) % count],
    )


def _distinct(genes: GeneMatrix, group: Ints) -> tuple[GeneMatrix, Ints]:
    """Each group's rows, each once, in their order."""
    _, first = np.unique(keys(genes, group), return_index=True)
    rows = np.sort(first)
    return genes[rows], group[rows]


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
) -> tuple[GeneMatrix, Ints, Floats]:
    """Networks of most value when every limited cost has a price, canonical, (N, G).

    Prices rise while their limit is broken and fall while it is met, by shrinking steps: a
    Lagrangian search, for the frame of each of `rows` its own.

    Returns:
        The networks, the row that each is of, and each row's last prices, percentage points a
        budget, (I, C).
    """
    each = np.arange(len(rows))
    if not problem.limits:
        return frames.minimise(-value_IBDK, rows), each, np.empty((len(rows), 0))
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
    return np.vstack(found[-KEPT_ROUNDS:]), np.tile(each, KEPT_ROUNDS), np.exp(log_price_IC)

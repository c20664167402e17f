"""Networks in niches: the population that searches, fronts and explorations breed.

The *load* of a network is its cost as the caller sees it: how far it is from a budget, or where it
lies on a device's whole range. A *niche* is a resolution and a small interval of load, and each
keeps its few best networks. So resolutions do not displace each other, and networks on both sides
of a budget survive. What one of them spends in vain is what another needs.

A network's *gap* is how far it is below the best network of its load or less. Networks with a gap
above the *slack* are dropped. Slack is large at first and shrinks, like an annealing's temperature.

Quality and diversity are kept by cell as in MAP-Elites (Mouret and Clune, arXiv 1504.04909).
Mutation and crossover follow Once-for-All (arXiv 1908.09791, appendix). Where the predictor has
slopes, several times more children are made than evaluated; those are evaluated that promise to
better their niche most.

Shapes: N networks, G genes, L intervals of load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats
from search.evolution.operators import crossover, keys, mutate, rank_in_group
from search.evolution.slope_screening import Slopes, SlopeScreening

Ints = npt.NDArray[np.int64]

PROPOSALS = 6
"""Children made for each that is evaluated, where slopes rank them; without slopes, 2."""
MORE_UNITS = 0.5
"""Probability of a second and of a third changed unit in a mutated child."""
BY_STAGE = 0.7
"""Share of crossovers that exchange whole stages."""
REACH = 8
"""A child's parents are at most this share (1 / REACH) of their resolution's networks apart."""
CHEAPER_SLACK = 0.15
"""Of the slack, how far below a cheaper network of its resolution a network may be."""
REMEMBERED = 1 << 20
"""Slots for the networks that were evaluated; one that loses its slot may be evaluated again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Which networks a population keeps."""

    low: float
    """Networks of less load share one niche for each resolution, as large as all others of the
    resolution together."""
    high: float
    """Networks of more load are not kept."""
    width: float
    """Of an interval of load. 0 lies on a boundary: no niche is on both sides of a budget."""
    capacity: int
    """Networks of any other niche."""


class Niches:
    """Proposes networks (`ask`) and takes their accuracies (`tell`).

    Args:
        load: the load of each row, (N,).
        slopes: `search.predictors.protocol.Sloped.slopes`; None if the predictor has none.
        batch: most networks proposed at a time.
    """

    def __init__(
        self,
        space: SearchSpace,
        load: Callable[[GeneMatrix], Floats],
        shape: Shape,
        batch: int,
        rng: np.random.Generator,
        slopes: Slopes | None = None,
    ) -> None:
        self._space, self._load, self._shape, self._batch = space, load, shape, batch
        self._rng = rng
        self._screening = SlopeScreening(space, slopes) if slopes else None
        self._lowest = round(shape.low / shape.width)
        self._levels = int(np.ceil(shape.high / shape.width)) - self._lowest + 1
        self._seen = np.full(REMEMBERED, -1)
        self.genes: GeneMatrix = np.empty((0, len(space.genes)), np.uint8)
        """The networks kept, (N, G), by niche, the best of each first."""
        self.top1: Floats = np.empty(0)
        """Their accuracies, percent."""
        self.load: Floats = np.empty(0)

    def ask(self, slack: float) -> GeneMatrix:
        """At most a batch of new networks to evaluate next, possibly none.

        Args:
            slack: percentage points.
        """
        if not len(self.genes):
            return self.genes
        half = -(-self._batch // 2)
        proposals = PROPOSALS if self._screening else 2
        mutated = self._best(*self._mutated(half * proposals), half, slack)
        crossed = self._best(*self._crossed(half * proposals), half, slack)
        return self.new(np.vstack([mutated, crossed]))

    def new(self, genes: GeneMatrix) -> GeneMatrix:
        """Those rows that were not given before, each once; they count as given from now on."""
        new = self._unseen(genes)
        key = self._keys(genes[new])
        self._seen[key % REMEMBERED] = key
        return genes[new]

    def tell(self, genes: GeneMatrix, top1: Floats, slack: float) -> None:
        """Choose whom to keep of the networks kept and those evaluated; `top1` in percent, (N,)."""
        old = len(self.genes)
        genes = np.vstack([self.genes, genes])
        top1 = np.concatenate([self.top1, top1])
        load = np.concatenate([self.load, self._load(genes[old:])])
        level = self._level(load)
        rows = np.flatnonzero(load <= self._shape.high)
        best_L = np.full(self._levels, -np.inf)
        np.maximum.at(best_L, level[rows], top1[rows])
        self._best_L = np.maximum.accumulate(best_L)
        rows = rows[top1[rows] >= self._best_L[level[rows]] - slack]
        rows = rows[self._worth_their_load(genes[rows, 0], level[rows], top1[rows], slack)]
        niche = self._niche(genes, level)
        rows = rows[np.lexsort((-top1[rows], niche[rows]))]
        rank = rank_in_group(niche[rows])
        self._best_of_niche = np.full(self._levels * self._resolutions, -np.inf)
        self._best_of_niche[niche[rows[rank == 0]]] = top1[rows[rank == 0]]
        capacity = np.where(level[rows] == 0, self._levels, 1) * self._shape.capacity
        rows = rows[rank < capacity]
        self.genes, self.top1, self.load = genes[rows], top1[rows], load[rows]
        if self._screening is not None:
            self._screening.set_parents(self.genes, self.top1, np.where(rows < old, rows, -1))

    def best_within(self, load: float) -> tuple[GeneMatrix, float]:
        """The most accurate network of at most this load so far, (G,), and its accuracy; there has
        to be one. It is never dropped for a boundary of intervals."""
        rows = np.flatnonzero(self.load <= load)
        best = rows[self.top1[rows].argmax()]
        return self.genes[best], float(self.top1[best])

    def nearest(self, count: int) -> GeneMatrix:
        """At most `count` of the networks kept, those of the smallest gaps, (N, G)."""
        gap = self._best_L[self._level(self.load)] - self.top1
        return self.genes[np.sort(np.argsort(gap, kind="stable")[:count])]

    @property
    def _resolutions(self) -> int:
        return len(self._space.resolutions)

    def _level(self, load: Floats) -> Ints:
        """Index of the interval of each load, (N,)."""
        level = np.ceil(load / self._shape.width).astype(np.int64) - self._lowest
        return np.clip(level, 0, self._levels - 1)

    def _niche(self, genes: GeneMatrix, level: Ints) -> Ints:
        """Niches of a resolution are contiguous, by rising load, (N,)."""
        return genes[:, 0].astype(np.int64) * self._levels + level

    def _worth_their_load(
        self, resolution: GeneMatrix, level: Ints, top1: Floats, slack: float
    ) -> npt.NDArray[np.bool_]:
        """Which rows are about as good as all of less load and their own resolution, (N,)."""
        best_RL = np.full((self._resolutions, self._levels + 1), -np.inf)
        np.maximum.at(best_RL, (resolution, level + 1), top1)
        cheaper_RL = np.maximum.accumulate(best_RL, axis=1)
        worth: npt.NDArray[np.bool_] = top1 >= cheaper_RL[resolution, level] - CHEAPER_SLACK * slack
        return worth

    def _mutated(self, count: int) -> tuple[GeneMatrix, Floats]:
        """Mutated children and what is expected of each, percent."""
        parent = self._rng.integers(0, len(self.genes), count)
        made = mutate(self._space, self.genes[parent], MORE_UNITS, self._rng)
        return made, self._estimate(made, parent)

    def _crossed(self, count: int) -> tuple[GeneMatrix, Floats]:
        """Children of two networks of one resolution and similar load, and what is expected of
        each, percent."""
        a = self._rng.integers(0, len(self.genes), count)
        _, first, size = np.unique(self.genes[:, 0], return_index=True, return_counts=True)
        island = np.repeat(np.arange(len(first)), size)[a]
        reach = np.maximum(2, size[island] // REACH)
        b = a + np.rint(self._rng.uniform(-1, 1, count) * reach).astype(np.int64)
        b = np.clip(b, first[island], first[island] + size[island] - 1)
        made = crossover(self._space, self.genes[a], self.genes[b], BY_STAGE, self._rng)
        return made, (self._estimate(made, a) + self._estimate(made, b)) / 2

    def _estimate(self, children: GeneMatrix, parent: Ints) -> Floats:
        """Accuracy by the slopes at the parents, or that of the parents, percent, (N,)."""
        if self._screening is None:
            top1: Floats = self.top1[parent]
            return top1
        return self._screening.estimate(children, parent)

    def _best(self, children: GeneMatrix, expected: Floats, count: int, slack: float) -> GeneMatrix:
        """At most `count` new rows, those that promise to better their niche most."""
        load = self._load(children)
        level = self._level(load)
        to_beat = np.maximum(
            self._best_of_niche[self._niche(children, level)], self._best_L[level] - slack
        )
        rows = np.flatnonzero((load <= self._shape.high) & np.isfinite(to_beat))
        order = np.argsort((to_beat - expected)[rows], kind="stable")
        ranked = children[rows[order[: 2 * count]]]
        return ranked[self._unseen(ranked)[:count]]

    def _unseen(self, genes: GeneMatrix) -> Ints:
        """Indices of rows that were not given before, each network once, in their order."""
        key = self._keys(genes)
        new = np.flatnonzero(self._seen[key % REMEMBERED] != key)
        _, first = np.unique(key[new], return_index=True)
        return new[np.sort(first)]

    def _keys(self, genes: GeneMatrix) -> Ints:
        return keys(genes, np.zeros(len(genes), np.int64))

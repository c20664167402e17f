"""Constrained evolution with ask and tell: no loop, no clock, no predictor.

Parents, mutation and crossover after Once-for-All (arXiv 1908.09791, appendix; aging is not
used). Different here:

- Networks of one resolution are an *island* and only breed among themselves, since an early lead
  of one resolution would crowd the others out. Half of the islands are given up now and then.
- *Groups* of islands, each from a start of its own, know nothing of each other until they are
  joined: one group alone settles in whichever good place it meets first.
- Until then limits are soft. A network a little over them may be a parent, and what is spent has
  a price, so that ways lead through both sides of the limits. The softness shrinks to nothing.
- Many more children are made than asked about: those that the predictor's slopes at their parents
  promise most of, where it has slopes. Most crossings exchange whole stages, no group asks about a
  network twice, and the last generation counts.

Shapes: N networks, G genes, C limits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.errors import InputError
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats
from search.evolution.operators import KEY_BITS, crossover, keys, mutate, place
from search.evolution.slope_screening import Promise, Slopes
from search.evolution.warm_start import Ints, Start

RESOLUTIONS = 256
"""More than a space has."""
LOOKED_THROUGH = 4
"""Promising children, for each that is asked about, of which it is checked whether they are new."""
Violations = Callable[[GeneMatrix], Floats]
"""See `search.evolution.problem.SubnetProblem.violations`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """Parameters of the evolution."""

    population: int = 240
    """New networks asked about in a generation, at most, all groups together."""
    proposals: float = 2.0
    """Children made for each that is asked about: many break a limit."""
    crossed_proposals: float = 4.0
    """The same for crossed children where slopes tell the promising ones."""
    mutated_proposals: float = 16.0
    """The same for mutated children."""
    parents: int = 40
    """The best of an island, for each group that has joined in it: they survive and have
    children."""
    apart: int = 40
    """Generations that groups stay apart and limits are soft."""
    slack: float = 0.05
    """How far over its limits a parent may be at first, a share of each."""
    mutation_ratio: float = 0.5
    """Share of children that are mutated; the others are crossed."""
    mutation_probability: float = 0.5
    """Of a second and of a third changed unit in a mutated child."""
    by_stage: float = 0.7
    """Share of crossings that exchange whole stages."""
    halving: int = 5
    """Generations after which each group gives up the worse half of its islands."""
    retries: int = 4
    """Times that children are made anew before a generation stays empty."""

    def __post_init__(self) -> None:
        for name in ("mutation_ratio", "mutation_probability", "by_stage", "slack"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name in ("proposals", "mutated_proposals", "crossed_proposals"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("population", "parents", "halving", "retries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.apart < 0:
            raise InputError(f"apart: expected at least 0, got {self.apart}")


class Brood(NamedTuple):
    """Networks to be asked about."""

    genes: GeneMatrix
    """(N, G)"""
    group: Ints
    """Of each, (N,)."""

    def take(self, rows: Ints) -> Brood:
        """Those of `rows`."""
        return Brood(self.genes[rows], self.group[rows])

    def with_(self, other: Brood) -> Brood:
        """These, then the others."""
        return Brood(
            np.vstack([self.genes, other.genes]), np.concatenate([self.group, other.group])
        )


class Pool(NamedTuple):
    """Networks that may have children."""

    genes: GeneMatrix
    """(N, G)"""
    top1: Floats
    """Their accuracies, percent, (N,)."""
    over_NC: Floats
    """How far they are over each limit, a share of it."""
    group: Ints
    """Of each, (N,)."""

    def take(self, rows: Ints) -> Pool:
        """Those of `rows`."""
        return Pool(self.genes[rows], self.top1[rows], self.over_NC[rows], self.group[rows])

    def with_(self, other: Pool) -> Pool:
        """These, then the others."""
        return Pool(
            np.vstack([self.genes, other.genes]),
            np.concatenate([self.top1, other.top1]),
            np.vstack([self.over_NC, other.over_NC]),
            np.concatenate([self.group, other.group]),
        )


class Evolution:
    """Proposes networks (`ask`) and learns how accurate they are (`tell`).

    Args:
        violations: of every limit by each row; `search.evolution.problem`.
        start: what is known already: at least one network within the limits.
        slopes: see `search.predictors.protocol.Sloped`; None if the predictor has none.
    """

    def __init__(
        self,
        space: SearchSpace,
        violations: Violations,
        start: Start,
        settings: EvolutionSettings,
        rng: np.random.Generator,
        slopes: Slopes | None = None,
    ) -> None:
        self.space, self.settings = space, settings
        self._violations, self._price_C = violations, start.price_C
        self._rng, self._generation = rng, 0
        self._promise = Promise(space, slopes) if slopes else None
        self._groups = self._started = int(start.group.max()) + 1
        self._islands = len(np.unique(start.genes[:, 0]))
        self._seen = set(keys(start.genes, start.group).tolist())
        known = Pool(start.genes, start.top1, violations(start.genes), start.group)
        self._best = known.take(np.zeros(1, np.int64))._replace(top1=np.full(1, -np.inf))
        self._follow(known)
        self.parents = known
        """Island by island, the worthiest first."""
        self._select(known, np.full(len(known.genes), -1))

    @property
    def best(self) -> GeneMatrix:
        """The most accurate network so far within all limits, (G,)."""
        best: GeneMatrix = self._best.genes[0]
        return best

    @property
    def best_top1(self) -> float:
        """Its accuracy, percent."""
        return float(self._best.top1[0])

    @property
    def apart(self) -> bool:
        """Whether groups are apart and limits soft."""
        return self._generation < self.settings.apart

    def ask(self) -> Brood:
        """Up to a population of networks that their group never asked about; none when exhausted.

        While limits are soft, some may be over them.
        """
        fresh = self._fresh()
        if not len(fresh.genes) and self.apart:
            self._generation = self.settings.apart
            self._select(self.parents, np.arange(len(self.parents.genes)))
            fresh = self._fresh()
        self._seen.update(keys(*fresh).tolist())
        return fresh

    def tell(self, brood: Brood, top1: Floats) -> None:
        """Keep the best of parents and children, `top1` in percent, (N,)."""
        born = Pool(brood.genes, top1, self._violations(brood.genes), brood.group)
        self._follow(born)
        self._generation += 1
        before = np.r_[np.arange(len(self.parents.genes)), np.full(len(top1), -1)]
        self._select(self.parents.with_(born), before)

    def _follow(self, born: Pool) -> None:
        """Keep the best network within all limits, whatever becomes of its island."""
        within = np.flatnonzero(_worst(born.over_NC) <= 0)
        if len(within) and born.top1[within].max() > self.best_top1:
            self._best = born.take(within[[born.top1[within].argmax()]])

    def _select(self, pool: Pool, before: Ints) -> None:
        """The parents from now on; `before` is the place of each row among those so far, or -1."""
        if self._groups > 1 and not self.apart:
            self._groups, pool = 1, pool._replace(group=np.zeros_like(pool.group))
            self._seen = {key % 2**KEY_BITS for key in self._seen}
            _, first = np.unique(keys(pool.genes, pool.group), return_index=True)
            pool, before = pool.take(first), before[first]
        met = np.flatnonzero(_worst(pool.over_NC) <= self._slack)
        if not len(met):
            pool = self._best._replace(group=np.zeros(1, np.int64))
            before, met = np.full(1, -1), np.zeros(1, np.int64)
        worth = pool.top1 - self._spent(pool.over_NC)
        island = _island(pool.genes, pool.group)
        order = met[np.lexsort((-worth[met], island[met]))]
        islands, first, sizes = np.unique(island[order], return_index=True, return_counts=True)
        ranked = np.lexsort((-worth[order[first]], islands // RESOLUTIONS))
        most = -(-self._islands // 2 ** (self._generation // self.settings.halving))
        kept = np.zeros(len(islands), bool)
        kept[ranked[place(islands[ranked] // RESOLUTIONS) < most]] = True
        each = self.settings.parents * (self._started if self._groups == 1 else 1)
        order = order[np.repeat(kept, sizes) & (place(island[order]) < each)]
        if self._promise is not None:
            self._promise.follow(pool.genes[order], pool.top1[order], before[order])
        self.parents = pool.take(order)

    @property
    def _slack(self) -> float:
        """How far over its limits a parent may be now, a share of each."""
        return self.settings.slack * max(0.0, 1 - self._generation / max(1, self.settings.apart))

    def _spent(self, over_NC: Floats) -> Floats:
        """What networks this near to the limits are charged for what they cost, percent, (N,)."""
        charged: Floats = np.maximum(over_NC, -self._slack) @ self._price_C
        return charged

    def _fresh(self) -> Brood:
        """New children, or strangers."""
        settings = self.settings
        n_mutated = round(settings.mutation_ratio * settings.population)
        for _ in range(settings.retries - 1):
            children = self._mutated(n_mutated), self._crossed(settings.population - n_mutated)
            both = children[0].with_(children[1])
            if len(fresh := self._unknown(both, np.arange(len(both.genes)))):
                return both.take(fresh[: settings.population])
        # Parents that only have known children have converged: then draw new blood.
        count = int(settings.proposals * settings.population)
        genes = self.space.sample(count, self._rng)
        strangers = Brood(genes, self._rng.integers(0, self._groups, count))
        met = np.flatnonzero(_worst(self._violations(genes)) <= self._slack)
        return strangers.take(self._unknown(strangers, met)[: settings.population])

    def _mutated(self, count: int) -> Brood:
        """`count` mutated networks, or about as many."""
        settings = self.settings
        mothers, _ = self._drawn(int(count * self._proposals(settings.mutated_proposals)))
        genes = self.parents.genes[mothers]
        made = mutate(self.space, genes, settings.mutation_probability, self._rng)
        return self._promising(made, [mothers], count)

    def _crossed(self, count: int) -> Brood:
        """`count` crossed networks, or about as many."""
        settings, genes = self.settings, self.parents.genes
        both = self._drawn(int(count * self._proposals(settings.crossed_proposals)))
        mothers, fathers = (genes[drawn] for drawn in both)
        made = crossover(self.space, mothers, fathers, settings.by_stage, self._rng)
        return self._promising(made, both, count)

    def _drawn(self, count: int) -> tuple[Ints, Ints]:
        """Two parents of one island, `count` times, every island as often."""
        island = _island(self.parents.genes, self.parents.group)
        _, first, sizes = np.unique(island, return_index=True, return_counts=True)
        at = self._rng.integers(0, len(first), count)
        one, other = self._rng.random((2, count)) * sizes[at]
        return first[at] + one.astype(np.int64), first[at] + other.astype(np.int64)

    def _proposals(self, promised: float) -> float:
        return self.settings.proposals if self._promise is None else promised

    def _promising(self, made: GeneMatrix, parents: Sequence[Ints], count: int) -> Brood:
        """About `count` new rows of which their parents promise most, as many in each group."""
        over_NC = self._violations(made)
        rows = np.flatnonzero(_worst(over_NC) <= self._slack)
        brood = Brood(made, self.parents.group[parents[0]])
        if self._promise is not None:
            promised = [self._promise.of(made[rows], parent[rows]) for parent in parents]
            worth = np.mean(promised, axis=0) - self._spent(over_NC[rows])
            rows = rows[np.argsort(-worth, kind="stable")]
        rows = rows[np.argsort(brood.group[rows], kind="stable")]
        quota = -(-count // self._groups)
        # Few of those that promise much are known: no need to look through all.
        fresh = self._unknown(brood, rows[place(brood.group[rows]) < LOOKED_THROUGH * quota])
        return brood.take(fresh[place(brood.group[fresh]) < quota])

    def _unknown(self, brood: Brood, rows: Ints) -> Ints:
        """Those of `rows` that their group never asked about, each once, in their order."""
        found, first = np.unique(keys(*brood.take(rows)), return_index=True)
        fresh = [i for key, i in zip(found.tolist(), first, strict=True) if key not in self._seen]
        return rows[np.sort(np.array(fresh, np.int64))]


def _worst(over_NC: Floats) -> Floats:
    """The largest of each row, (N,); column by column, since rows are many and short."""
    worst: Floats = functools.reduce(np.maximum, over_NC.T, np.full(len(over_NC), -np.inf))
    return worst


def _island(genes: GeneMatrix, group: Ints) -> Ints:
    """A number for each row's group and resolution, (N,), rising with the group."""
    return RESOLUTIONS * group + genes[:, 0]

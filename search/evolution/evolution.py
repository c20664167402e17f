"""Evolution within limits, as ask and tell: no loop, no clock, no predictor.

Parents, mutation and crossover follow Once-for-All (arXiv 1908.09791, appendix; without aging).
The differences:

- *Islands.* Networks of one resolution breed only among themselves. Otherwise a resolution that
  leads early displaces the others. At intervals the worse half of the islands is given up.
- *Groups* of islands, each with a warm start of its own, are isolated from each other and later
  joined. A single group converges to whichever good region it meets first.
- *Soft limits.* While groups are isolated, parents may exceed limits by a slack that shrinks to 0,
  and parents are ranked by accuracy less a price for what they cost. So both sides of a limit are
  explored.
- *Slope screening.* Where the predictor has slopes, many more children are made than evaluated, and
  those with the best estimates are evaluated. No group evaluates a network twice.

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
from search.evolution.operators import KEY_BITS, crossover, keys, mutate, rank_in_group
from search.evolution.slope_screening import Slopes, SlopeScreening
from search.evolution.warm_start import Ints, Start

MAX_RESOLUTIONS = 256
"""More than any space has."""
CHECKED_PER_CHILD = 4
"""Best-ranked children that are checked for being new, for each child that is evaluated."""
Violations = Callable[[GeneMatrix], Floats]
"""See `search.evolution.problem.SubnetProblem.violations`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """Parameters of the evolution."""

    population: int = 240
    """Most new networks evaluated in a generation, in all groups together."""
    proposals: float = 2.0
    """Children made for each that is evaluated, since many exceed a limit."""
    crossed_proposals: float = 4.0
    """The same for crossed children, with slope screening."""
    mutated_proposals: float = 16.0
    """The same for mutated children, with slope screening."""
    parents: int = 40
    """Survivors of an island in a generation, for each group that it was joined from."""
    isolation_generations: int = 40
    """Generations during which groups are isolated and limits are soft."""
    slack: float = 0.05
    """How far over a limit a parent may be at first, a share of the limit."""
    mutation_ratio: float = 0.5
    """Share of children that are mutated; the others are crossed."""
    mutation_probability: float = 0.5
    """Of a second and of a third changed unit in a mutated child."""
    by_stage: float = 0.7
    """Share of crossovers that exchange whole stages."""
    cull_interval: int = 5
    """Generations after which each group gives up the worse half of its islands."""
    retries: int = 4
    """Attempts to make new children; the last draws random networks."""

    def __post_init__(self) -> None:
        for name in ("mutation_ratio", "mutation_probability", "by_stage", "slack"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name in ("proposals", "mutated_proposals", "crossed_proposals"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("population", "parents", "cull_interval", "retries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.isolation_generations < 0:
            raise InputError(
                f"isolation_generations: expected at least 0, got {self.isolation_generations}"
            )


class Offspring(NamedTuple):
    """Networks to be evaluated."""

    genes: GeneMatrix
    """(N, G)"""
    group: Ints
    """Of each, (N,)."""

    def take(self, rows: Ints) -> Offspring:
        """Those of `rows`."""
        return Offspring(self.genes[rows], self.group[rows])

    def with_(self, other: Offspring) -> Offspring:
        """These, then the others."""
        return Offspring(
            np.vstack([self.genes, other.genes]), np.concatenate([self.group, other.group])
        )


class Population(NamedTuple):
    """Evaluated networks."""

    genes: GeneMatrix
    """(N, G)"""
    top1: Floats
    """Their accuracies, percent, (N,)."""
    violations_NC: Floats
    """How far they are over each limit, a share of the limit."""
    group: Ints
    """Of each, (N,)."""

    def take(self, rows: Ints) -> Population:
        """Those of `rows`."""
        return Population(
            self.genes[rows], self.top1[rows], self.violations_NC[rows], self.group[rows]
        )

    def with_(self, other: Population) -> Population:
        """These, then the others."""
        return Population(
            np.vstack([self.genes, other.genes]),
            np.concatenate([self.top1, other.top1]),
            np.vstack([self.violations_NC, other.violations_NC]),
            np.concatenate([self.group, other.group]),
        )


class Evolution:
    """Proposes networks (`ask`) and takes their accuracies (`tell`).

    Args:
        violations: `search.evolution.problem.SubnetProblem.violations`.
        start: evaluated networks, at least one of them within the limits.
        slopes: `search.predictors.protocol.Sloped.slopes`; None if the predictor has none.
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
        self._screening = SlopeScreening(space, slopes) if slopes else None
        self._groups = self._initial_groups = int(start.group.max()) + 1
        self._initial_islands = len(np.unique(start.genes[:, 0]))
        self._seen = set(keys(start.genes, start.group).tolist())
        known = Population(start.genes, start.top1, violations(start.genes), start.group)
        self._best = known.take(np.zeros(1, np.int64))._replace(top1=np.full(1, -np.inf))
        self._update_best(known)
        self.parents: Population
        """Sorted by island, then by score, the best first."""
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
    def isolated(self) -> bool:
        """Whether groups are isolated and limits soft."""
        return self._generation < self.settings.isolation_generations

    def ask(self) -> Offspring | None:
        """At most a population of networks that are new to their group; None: nothing is left.

        While limits are soft, some may be over them.
        """
        offspring = self._new_networks()
        if not len(offspring.genes) and self.isolated:
            self._generation = self.settings.isolation_generations
            self._select(self.parents, np.arange(len(self.parents.genes)))
            offspring = self._new_networks()
        self._seen.update(keys(*offspring).tolist())
        return offspring if len(offspring.genes) else None

    def tell(self, offspring: Offspring, top1: Floats) -> None:
        """Select the next parents among parents and offspring; `top1` in percent, (N,)."""
        genes, group = offspring
        evaluated = Population(genes, top1, self._violations(genes), group)
        self._update_best(evaluated)
        self._generation += 1
        old_index = np.r_[np.arange(len(self.parents.genes)), np.full(len(top1), -1)]
        self._select(self.parents.with_(evaluated), old_index)

    def _update_best(self, evaluated: Population) -> None:
        """Remember the best network within all limits, even if its island is given up."""
        feasible = np.flatnonzero(_worst(evaluated.violations_NC) <= 0)
        if len(feasible) and evaluated.top1[feasible].max() > self.best_top1:
            self._best = evaluated.take(feasible[[evaluated.top1[feasible].argmax()]])

    def _select(self, candidates: Population, old_index: Ints) -> None:
        """Choose the next parents; `old_index` of a candidate is its row in `parents`, or -1."""
        if self._groups > 1 and not self.isolated:
            self._groups = 1
            candidates = candidates._replace(group=np.zeros_like(candidates.group))
            self._seen = {key % 2**KEY_BITS for key in self._seen}
            _, first = np.unique(keys(candidates.genes, candidates.group), return_index=True)
            candidates, old_index = candidates.take(first), old_index[first]
        allowed = np.flatnonzero(_worst(candidates.violations_NC) <= self._slack)
        if not len(allowed):
            candidates = self._best._replace(group=np.zeros(1, np.int64))
            old_index, allowed = np.full(1, -1), np.zeros(1, np.int64)
        score = candidates.top1 - self._charge(candidates.violations_NC)
        island = _island(candidates.genes, candidates.group)
        order = allowed[np.lexsort((-score[allowed], island[allowed]))]
        islands, first, sizes = np.unique(island[order], return_index=True, return_counts=True)
        group = islands // MAX_RESOLUTIONS
        ranked = np.lexsort((-score[order[first]], group))
        max_islands = -(
            -self._initial_islands // 2 ** (self._generation // self.settings.cull_interval)
        )
        survives = np.zeros(len(islands), bool)
        survives[ranked[rank_in_group(group[ranked]) < max_islands]] = True
        max_parents = self.settings.parents * (self._initial_groups if self._groups == 1 else 1)
        order = order[np.repeat(survives, sizes) & (rank_in_group(island[order]) < max_parents)]
        self.parents = candidates.take(order)
        if self._screening is not None:
            self._screening.set_parents(self.parents.genes, self.parents.top1, old_index[order])

    @property
    def _slack(self) -> float:
        """How far over a limit a parent may be now, a share of the limit."""
        isolation = max(1, self.settings.isolation_generations)
        return self.settings.slack * max(0.0, 1 - self._generation / isolation)

    def _charge(self, violations_NC: Floats) -> Floats:
        """Price of what networks cost, percentage points, (N,); the same for all that are below
        their limits by more than the slack."""
        charge: Floats = np.maximum(violations_NC, -self._slack) @ self._price_C
        return charge

    def _new_networks(self) -> Offspring:
        """Children that are new to their group, or random networks if there are none."""
        settings = self.settings
        n_mutated = round(settings.mutation_ratio * settings.population)
        for _ in range(settings.retries - 1):
            mutated = self._mutated(n_mutated)
            children = mutated.with_(self._crossed(settings.population - n_mutated))
            if len(new := self._unseen(children, np.arange(len(children.genes)))):
                return children.take(new[: settings.population])
        # The parents have converged: all their children are known.
        count = int(settings.proposals * settings.population)
        genes = self.space.sample(count, self._rng)
        drawn = Offspring(genes, self._rng.integers(0, self._groups, count))
        allowed = np.flatnonzero(_worst(self._violations(genes)) <= self._slack)
        return drawn.take(self._unseen(drawn, allowed)[: settings.population])

    def _mutated(self, count: int) -> Offspring:
        """About `count` mutated networks."""
        settings = self.settings
        parents, _ = self._draw_pairs(int(count * self._proposals(settings.mutated_proposals)))
        genes = self.parents.genes[parents]
        made = mutate(self.space, genes, settings.mutation_probability, self._rng)
        return self._screened(made, [parents], count)

    def _crossed(self, count: int) -> Offspring:
        """About `count` crossed networks."""
        settings = self.settings
        pairs = self._draw_pairs(int(count * self._proposals(settings.crossed_proposals)))
        parents_a, parents_b = (self.parents.genes[rows] for rows in pairs)
        made = crossover(self.space, parents_a, parents_b, settings.by_stage, self._rng)
        return self._screened(made, pairs, count)

    def _draw_pairs(self, count: int) -> tuple[Ints, Ints]:
        """`count` pairs of parents, each of one island; all islands are equally likely."""
        island = _island(self.parents.genes, self.parents.group)
        _, first, sizes = np.unique(island, return_index=True, return_counts=True)
        at = self._rng.integers(0, len(first), count)
        offset_a, offset_b = self._rng.random((2, count)) * sizes[at]
        return first[at] + offset_a.astype(np.int64), first[at] + offset_b.astype(np.int64)

    def _proposals(self, with_screening: float) -> float:
        return self.settings.proposals if self._screening is None else with_screening

    def _screened(self, made: GeneMatrix, parents: Sequence[Ints], count: int) -> Offspring:
        """About `count` new rows, equally many in each group: the best by their parents' slopes.

        Args:
            parents: for each parent of a row, its index in `self.parents`, (N,).
        """
        violations_NC = self._violations(made)
        rows = np.flatnonzero(_worst(violations_NC) <= self._slack)
        children = Offspring(made, self.parents.group[parents[0]])
        if self._screening is not None:
            estimates = [self._screening.estimate(made[rows], parent[rows]) for parent in parents]
            score = np.mean(estimates, axis=0) - self._charge(violations_NC[rows])
            rows = rows[np.argsort(-score, kind="stable")]
        rows = rows[np.argsort(children.group[rows], kind="stable")]
        quota = -(-count // self._groups)
        # Most of the best are new, so checking a few times the quota is enough.
        checked = rows[rank_in_group(children.group[rows]) < CHECKED_PER_CHILD * quota]
        new = self._unseen(children, checked)
        return children.take(new[rank_in_group(children.group[new]) < quota])

    def _unseen(self, offspring: Offspring, rows: Ints) -> Ints:
        """Those of `rows` that are new to their group, each network once, in their order."""
        unique, first = np.unique(keys(*offspring.take(rows)), return_index=True)
        new = [i for key, i in zip(unique.tolist(), first, strict=True) if key not in self._seen]
        return rows[np.sort(np.array(new, np.int64))]


def _worst(violations_NC: Floats) -> Floats:
    """The largest of each row, (N,); by columns, which is faster for many short rows."""
    none = np.full(len(violations_NC), -np.inf)
    worst: Floats = functools.reduce(np.maximum, violations_NC.T, none)
    return worst


def _island(genes: GeneMatrix, group: Ints) -> Ints:
    """Number of each row's island, its group and resolution, (N,); rises with the group."""
    return MAX_RESOLUTIONS * group + genes[:, 0]

"""Constrained evolution with ask and tell: no loop, no clock, no predictor.

Parents, mutation and crossover after Once-for-All (arXiv 1908.09791, appendix; aging is not
used). Different here: networks of one resolution are an *island* and only breed among
themselves, since an early lead of one resolution would crowd the others out; half of the islands
are given up now and then, until one is left. No network over a limit and none seen before is
asked about, most crossings exchange whole stages, and the last generation counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InputError
from models.space import GeneMatrix, SearchSpace
from search.costs import Floats
from search.operators import crossover, mutate

Feasible = Callable[[GeneMatrix], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """Parameters of the evolution."""

    population: int = 400
    """New networks asked about in a generation, at most."""
    proposals: float = 2.0
    """Children made for each that is asked about: many break a limit."""
    parents: int = 100
    """The best of an island: they survive and have children."""
    mutation_ratio: float = 0.5
    """Share of children that are mutated; the others are crossed."""
    mutation_probability: float = 0.5
    """Of a second and of a third changed unit in a mutated child."""
    by_stage: float = 0.7
    """Share of crossings that exchange whole stages."""
    halving: int = 25
    """Generations after which the worse half of the islands is given up."""
    retries: int = 4
    """Times that children are made anew before a generation stays empty."""

    def __post_init__(self) -> None:
        for name in ("mutation_ratio", "mutation_probability", "by_stage"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name in ("population", "proposals", "parents", "halving", "retries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")


class Evolution:
    """Proposes feasible networks (`ask`) and learns how accurate they are (`tell`).

    Args:
        feasible: which rows of a gene matrix meet every limit.
        genes, top1: what is known already: at least one feasible network and its accuracy.
    """

    def __init__(
        self,
        space: SearchSpace,
        feasible: Feasible,
        genes: GeneMatrix,
        top1: Floats,
        settings: EvolutionSettings,
        rng: np.random.Generator,
    ) -> None:
        self.space, self.feasible, self.settings = space, feasible, settings
        self._rng, self._generation = rng, -1
        self._weights = np.random.default_rng(0).integers(1, 2**42, len(space.genes))
        self._seen = set(self._keys(genes).tolist())
        self.genes: GeneMatrix = np.empty((0, len(space.genes)), np.uint8)
        """The parents: island by island, best first."""
        self.top1: Floats = np.empty(0)
        """Their accuracies."""
        met = feasible(genes)
        self.tell(genes[met], top1[met])

    @property
    def best(self) -> GeneMatrix:
        """The parents, best first, (N, G)."""
        return self.genes[np.argsort(-self.top1, kind="stable")]

    def ask(self) -> GeneMatrix:
        """Up to a population of feasible networks never asked before; none when exhausted."""
        count = int(self.settings.proposals * self.settings.population)
        for retry in range(self.settings.retries):
            # Parents that only have known children have converged: then draw new blood.
            stuck = retry == self.settings.retries - 1
            made = self.space.sample(count, self._rng) if stuck else self._children(count)
            fresh = self._unknown(made[self.feasible(made)])[: self.settings.population]
            if len(fresh):
                self._seen.update(self._keys(fresh).tolist())
                break
        return fresh

    def tell(self, genes: GeneMatrix, top1: Floats) -> None:
        """Keep the best of parents and children, `top1` in percent, (N,)."""
        genes, top1 = np.vstack([self.genes, genes]), np.concatenate([self.top1, top1])
        order = np.lexsort((-top1, genes[:, 0]))
        islands, first, sizes = np.unique(genes[order, 0], return_index=True, return_counts=True)
        self._generation += 1
        halvings = self._generation // self.settings.halving
        kept = np.argsort(-top1[order[first]], kind="stable")[: -(-len(islands) // 2**halvings)]
        order = np.concatenate(
            [
                order[first[i] : first[i] + min(sizes[i], self.settings.parents)]
                for i in sorted(kept)
            ]
        )
        self.genes, self.top1 = genes[order], top1[order]

    def _children(self, count: int) -> GeneMatrix:
        rng, settings = self._rng, self.settings
        n_mutated = round(settings.mutation_ratio * count)
        mothers = rng.integers(0, len(self.genes), count)
        _, first, sizes = np.unique(self.genes[:, 0], return_index=True, return_counts=True)
        island = np.repeat(np.arange(len(first)), sizes)[mothers[n_mutated:]]
        fathers = first[island] + (rng.random(len(island)) * sizes[island]).astype(np.intp)
        parents = self.genes[mothers]
        mutated = mutate(self.space, parents[:n_mutated], settings.mutation_probability, rng)
        crossed = crossover(
            self.space, parents[n_mutated:], self.genes[fathers], settings.by_stage, rng
        )
        return np.vstack([mutated, crossed])

    def _unknown(self, genes: GeneMatrix) -> GeneMatrix:
        """The rows that were never asked about, each once."""
        keys, first = np.unique(self._keys(genes), return_index=True)
        fresh = [i for key, i in zip(keys.tolist(), first, strict=True) if key not in self._seen]
        return genes[np.sort(np.array(fresh, np.intp))]

    def _keys(self, genes: GeneMatrix) -> npt.NDArray[np.int64]:
        """A number for each row, (N,): a sum of random weights below 2^53, so that it is exact
        in any order. Different networks share one so rarely that losing one does not matter."""
        keys: npt.NDArray[np.int64] = (genes @ self._weights.astype(np.float64)).astype(np.int64)
        return keys

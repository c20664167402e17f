"""Constrained evolution with ask and tell: no loop, no clock, no predictor.

Parameters and scheme after Once-for-All (arXiv 1908.09791, appendix; aging is not used): a
quarter of the population are parents, half of the children are mutated parents, half are
crossed. Different here: every candidate is feasible by bounded repair, no network is asked
about twice, and the last generation counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.errors import InputError
from models.space import GeneMatrix, SearchSpace
from search.costs import Floats
from search.operators import Feasible, crossover, mutate, repair


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """Parameters of the evolution."""

    population: int = 100
    """New networks asked about in a generation."""
    parent_ratio: float = 0.25
    """Share of the population that has children; these survive."""
    mutation_ratio: float = 0.5
    """Share of children that are mutated; the others are crossed."""
    mutation_probability: float = 0.1
    """Of each unit of a mutated child."""
    retries: int = 4
    """Times that already known children are replaced before a generation stays smaller."""

    def __post_init__(self) -> None:
        for name in ("parent_ratio", "mutation_ratio", "mutation_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name in ("population", "retries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")


class Evolution:
    """Proposes feasible networks (`ask`) and learns how accurate they are (`tell`).

    Args:
        feasible: which rows of a gene matrix meet every limit.
        anchor: a network that does, (G,).
        seeds: networks to start with besides random ones, feasible or not, (N, G).
    """

    def __init__(
        self,
        space: SearchSpace,
        feasible: Feasible,
        anchor: GeneMatrix,
        seeds: GeneMatrix,
        settings: EvolutionSettings,
        rng: np.random.Generator,
    ) -> None:
        self.space, self.feasible, self.settings = space, feasible, settings
        self._anchor, self._seeds, self._rng = anchor[None], seeds, rng
        self._asked: set[bytes] = set()
        self.genes: GeneMatrix = np.empty((0, len(space.genes)), np.uint8)
        """The parents, best first."""
        self.top1: Floats = np.empty(0)
        """Their accuracies."""

    def ask(self) -> GeneMatrix:
        """Up to a population of feasible networks never asked before; none when exhausted."""
        fresh: list[GeneMatrix] = []
        if not self._asked:
            seeds = repair(self.space, self._seeds, self._anchor, self.feasible, self._rng)
            fresh += self._unknown(np.vstack([self._anchor, seeds]))
        for retry in range(self.settings.retries):
            missing = self.settings.population - len(fresh)
            # Parents that keep having known children have converged: then draw new blood.
            stuck = retry == self.settings.retries - 1
            fresh += self._unknown(
                self._children(missing) if len(self.genes) and not stuck else self._sample(missing)
            )
            if len(fresh) >= self.settings.population:
                break
        return np.array(fresh, np.uint8).reshape(-1, len(self.space.genes))

    def tell(self, genes: GeneMatrix, top1: Floats) -> None:
        """Keep the best of parents and children, `top1` in percent, (N,)."""
        genes, top1 = np.vstack([self.genes, genes]), np.concatenate([self.top1, top1])
        n_parents = max(1, round(self.settings.parent_ratio * self.settings.population))
        best = np.argsort(-top1, kind="stable")[:n_parents]
        self.genes, self.top1 = genes[best], top1[best]

    def _children(self, count: int) -> GeneMatrix:
        rng, n_parents = self._rng, len(self.genes)
        n_mutated = round(self.settings.mutation_ratio * count)
        mothers = self.genes[rng.integers(0, n_parents, count)]
        fathers = self.genes[rng.integers(0, n_parents, count - n_mutated)]
        probability = self.settings.mutation_probability
        children = np.vstack(
            [
                mutate(self.space, mothers[:n_mutated], probability, rng),
                crossover(self.space, mothers[n_mutated:], fathers, rng),
            ]
        )
        return repair(self.space, children, mothers, self.feasible, rng)

    def _sample(self, count: int) -> GeneMatrix:
        sampled = self.space.sample(count, self._rng)
        return repair(self.space, sampled, self._anchor, self.feasible, self._rng)

    def _unknown(self, genes: GeneMatrix) -> list[GeneMatrix]:
        """The rows that were never asked about, each once; remembers them."""
        unknown = []
        for row in genes:
            if (key := row.tobytes()) not in self._asked:
                self._asked.add(key)
                unknown.append(row)
        return unknown

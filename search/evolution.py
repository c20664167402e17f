"""Constrained evolution with ask and tell: no loop, no clock, no predictor.

Parents, mutation and crossover after Once-for-All (arXiv 1908.09791, appendix; aging is not
used). Different here: networks of one resolution are an *island* and only breed among
themselves, since an early lead of one resolution would crowd the others out; half of the islands
are given up now and then, until one is left. Many more children are made than asked about: those
are that the predictor's slopes at their parents promise most of, where it has slopes. No network
over a limit and none seen before is asked about, most crossings exchange whole stages, and the
last generation counts.

Shapes: N networks, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InputError
from models.space import GeneMatrix, SearchSpace
from search.costs import Floats
from search.operators import crossover, mutate
from search.promise import Promise, Slopes

Feasible = Callable[[GeneMatrix], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """Parameters of the evolution."""

    population: int = 200
    """New networks asked about in a generation, at most."""
    proposals: float = 2.0
    """Children made for each that is asked about: many break a limit."""
    crossed_proposals: float = 8.0
    """The same for crossed children where slopes tell the promising ones."""
    mutated_proposals: float = 32.0
    """The same for mutated children."""
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
        for name in ("proposals", "mutated_proposals", "crossed_proposals"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("population", "parents", "halving", "retries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")


class Evolution:
    """Proposes feasible networks (`ask`) and learns how accurate they are (`tell`).

    Args:
        feasible: which rows of a gene matrix meet every limit.
        genes, top1: what is known already: at least one feasible network and its accuracy.
        slopes: see `search.predictor.Sloped`; None if the predictor has none.
    """

    def __init__(
        self,
        space: SearchSpace,
        feasible: Feasible,
        genes: GeneMatrix,
        top1: Floats,
        settings: EvolutionSettings,
        rng: np.random.Generator,
        slopes: Slopes | None = None,
    ) -> None:
        self.space, self.feasible, self.settings = space, feasible, settings
        self._rng, self._generation = rng, -1
        self._promise = Promise(space, slopes) if slopes else None
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
        settings = self.settings
        for retry in range(settings.retries):
            # Parents that only have known children have converged: then draw new blood.
            if retry == settings.retries - 1:
                count = int(settings.proposals * settings.population)
                strangers = self.space.sample(count, self._rng)
                made = [strangers[self.feasible(strangers)]]
            else:
                n_mutated = round(settings.mutation_ratio * settings.population)
                made = [self._mutated(n_mutated), self._crossed(settings.population - n_mutated)]
            fresh = self._unknown(np.vstack(made))[: settings.population]
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
        if self._promise is not None:
            before = np.where(order < len(self.genes), order, -1)
            self._promise.follow(genes[order], top1[order], before)
        self.genes, self.top1 = genes[order], top1[order]

    def _mutated(self, count: int) -> GeneMatrix:
        """`count` mutated networks within the limits, or fewer."""
        settings = self.settings
        mothers = self._drawn(int(count * self._proposals(settings.mutated_proposals)))
        made = mutate(self.space, self.genes[mothers], settings.mutation_probability, self._rng)
        met = self.feasible(made)
        return self._promising(made[met], [mothers[met]], count)

    def _crossed(self, count: int) -> GeneMatrix:
        """`count` crossed networks within the limits, or fewer."""
        settings = self.settings
        mothers = self._drawn(int(count * self._proposals(settings.crossed_proposals)))
        _, first, sizes = np.unique(self.genes[:, 0], return_index=True, return_counts=True)
        island = np.repeat(np.arange(len(first)), sizes)[mothers]
        fathers = first[island] + (self._rng.random(len(island)) * sizes[island]).astype(np.intp)
        made = crossover(
            self.space, self.genes[mothers], self.genes[fathers], settings.by_stage, self._rng
        )
        met = self.feasible(made)
        return self._promising(made[met], [mothers[met], fathers[met]], count)

    def _drawn(self, count: int) -> npt.NDArray[np.intp]:
        return self._rng.integers(0, len(self.genes), count)

    def _proposals(self, promised: float) -> float:
        return self.settings.proposals if self._promise is None else promised

    def _promising(
        self, made: GeneMatrix, parents: Sequence[npt.NDArray[np.intp]], count: int
    ) -> GeneMatrix:
        """The `count` rows never asked about of which their parents promise most."""
        if self._promise is not None:
            promised = sum(self._promise.of(made, parent) for parent in parents)
            made = made[np.argsort(-promised, kind="stable")]
        return self._unknown(made)[:count]

    def _unknown(self, genes: GeneMatrix) -> GeneMatrix:
        """The rows that were never asked about, each once, in their order."""
        keys, first = np.unique(self._keys(genes), return_index=True)
        fresh = [i for key, i in zip(keys.tolist(), first, strict=True) if key not in self._seen]
        return genes[np.sort(np.array(fresh, np.intp))]

    def _keys(self, genes: GeneMatrix) -> npt.NDArray[np.int64]:
        """A number for each row, (N,): a sum of random weights below 2^53, so that it is exact
        in any order. Different networks share one so rarely that losing one does not matter."""
        keys: npt.NDArray[np.int64] = (genes @ self._weights.astype(np.float64)).astype(np.int64)
        return keys

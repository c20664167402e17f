"""The whole trade-off of a device between latency and accuracy, which answers every budget.

1. An additive surrogate of the predictor is fitted to random networks. Its exact front is found by
   dynamic programming over the factors of latency.
2. Evolution along the front: children of neighbouring points, evaluated by the predictor. Each
   resolution keeps a front of its own, whose points breed while they are near the common front.
3. The surrogate is fitted again with the networks found, and both steps repeat.
4. Every network one unit away from a point of the front is evaluated.
5. Searches for single budgets, one of them without a limit, add what they find: the front ends
   where a search without a limit does.

Shapes: N networks, P points of the front, G genes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from models.errors import Infeasible
from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, Floats
from search.evolution import (
    TILT,
    Offspring,
    crossover,
    fit_additive,
    generations,
    mutate,
    neighbours,
    one_blas_thread,
    search_subnet,
)
from search.pareto import non_dominated, pareto_front
from search.predictors import AccuracyPredictor, warm_start_pool_of


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Non-dominated networks, by rising latency and rising accuracy."""

    genes: GeneMatrix
    """(P, G), canonical."""
    latency_ms: Floats
    """(P,)"""
    top1: Floats
    """(P,), predicted, percent."""

    def __len__(self) -> int:
        return len(self.latency_ms)

    def __getitem__(self, rows: slice) -> Front:
        return Front(self.genes[rows], self.latency_ms[rows], self.top1[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """How much work a front takes."""

    samples: int = 1000
    """Random networks that the first surrogate is fitted to."""
    fitted: int = 4000
    """Most networks that a surrogate is fitted to, the latest evaluated."""
    rounds: int = 3
    """Times that the surrogate is fitted."""
    width: int = 512
    """Most points of a set in the dynamic program."""
    generations: int = 150
    """Of evolution in a round."""
    children: int = 400
    """Made in a generation; those that are new are evaluated."""
    mutation_probability: float = 0.5
    """Of a second and of a third changed unit in a mutated child."""
    by_stage: float = 0.7
    """Share of crossovers that exchange whole stages."""
    slack: float = 0.1
    """How far below the common front a point of a resolution's front may lie to breed, a share of
    the common front's range of accuracy; shrinks to 0 in every round."""
    polished: int = 100
    """Points, spread over the front, whose neighbours are all evaluated in the end."""
    searches: int = 4
    """Budgets that are searched on their own, spread over the front, its end among them."""


DEFAULT_SETTINGS = FrontSettings()


def front(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    latency: CostModel,
    seed: int,
    settings: FrontSettings = DEFAULT_SETTINGS,
    on_share: Callable[[float], None] = lambda _: None,
) -> Front:
    """The trade-off between latency and predicted accuracy, from the floor of the space up.

    BLAS has one thread in this process from then on (`search.evolution.threads`).

    Args:
        seed: of the only random generator; the same seed gives the same front, bit for bit.
        on_share: called after each generation with the share done, 0..1.
    """
    one_blas_thread()
    rng = np.random.default_rng(seed)
    evolution = _FrontEvolution(space, latency, settings, rng)
    steps = generations(evolution, predictor.predict)

    def evaluate(rows: GeneMatrix) -> None:
        evolution.proposed = rows
        next(steps)

    sampled = space.sample_tilted(settings.samples, TILT, rng)
    evaluate(np.vstack([latency.floor_genes, sampled, warm_start_pool_of(predictor, space)]))
    for round_ in range(settings.rounds):
        # The latest rows lie near the front, where the surrogate has to be accurate.
        recent = slice(-settings.fitted, None)
        surrogate = fit_additive(space, evolution.genes[recent], evolution.top1[recent])
        points = pareto_front(latency.factors, surrogate.factors, space.n_choices, settings.width)
        evaluate(space.canonical(points.genes))
        for generation, _ in enumerate(islice(steps, settings.generations), 1):
            done = round_ + generation / settings.generations
            on_share(done / settings.rounds)
    best = evolution.best
    spread = np.linspace(0, len(best) - 1, min(len(best), settings.polished)).astype(np.intp)
    evaluate(np.vstack([neighbours(space, row).genes for row in evolution.genes[best[spread]]]))
    for budget in _budgets(evolution.cost[evolution.best], latency, settings.searches):
        limits = {"latency_ms": budget}
        found = search_subnet(space, predictor, {"latency_ms": latency}, limits, seed)
        evaluate(found.genes[None])
    best = evolution.best
    return Front(evolution.genes[best], evolution.cost[best], evolution.top1[best])


def _budgets(cost: Floats, latency: CostModel, count: int) -> list[float]:
    """Latencies within the front, by rising logarithm, and last the largest of the space."""
    inner = np.geomspace(cost[0], cost[-1], count + 1)[1:-1] if count > 1 else np.empty(0)
    return [*inner.tolist(), latency.ceiling()][:count]


def merged(points: Front, others: Front) -> Front:
    """The front of both together."""
    genes = np.vstack([points.genes, others.genes])
    cost = np.concatenate([points.latency_ms, others.latency_ms])
    top1 = np.concatenate([points.top1, others.top1])
    best = non_dominated(cost, top1)
    return Front(genes[best], cost[best], top1[best])


def answer(points: Front, budget_ms: float) -> int:
    """Index of the most accurate point within `budget_ms`.

    Raises:
        Infeasible: if even the first point is slower.
    """
    index = int(np.searchsorted(points.latency_ms, budget_ms, side="right")) - 1
    if index < 0:
        raise Infeasible("latency_ms", budget_ms, float(points.latency_ms[0]))
    return index


class _FrontEvolution:
    """Evolution along the front, with an archive of every network evaluated, each once."""

    def __init__(
        self,
        space: SearchSpace,
        latency: CostModel,
        settings: FrontSettings,
        rng: np.random.Generator,
    ) -> None:
        self._space, self._latency, self._settings, self._rng = space, latency, settings, rng
        self._generation = 0
        self._seen: set[bytes] = set()
        self.proposed: GeneMatrix | None = None
        """To be evaluated next in place of children."""
        self.genes: GeneMatrix = np.empty((0, len(space.genes)), np.uint8)
        self.cost: Floats = np.empty(0)
        self.top1: Floats = np.empty(0)
        self._own_fronts: npt.NDArray[np.intp] = np.empty(0, np.intp)
        """Rows of each resolution's front, one resolution after the other, by latency."""
        self.best: npt.NDArray[np.intp] = np.empty(0, np.intp)
        """Rows of the front, by rising latency."""

    def ask(self) -> Offspring:
        """The new ones of the rows proposed, or of a generation of children."""
        rows, self.proposed = self.proposed, None
        if rows is None:
            in_round = self._generation % self._settings.generations
            slack = self._settings.slack * (1 - in_round / self._settings.generations)
            rows = _children(self._space, self._parents(slack), self._settings, self._rng)
            self._generation += 1
        keys = dict.fromkeys(row.tobytes() for row in rows)
        new = [key for key in keys if key not in self._seen]
        self._seen.update(new)
        genes = np.frombuffer(b"".join(new), np.uint8).reshape(len(new), rows.shape[1])
        return Offspring(genes, np.zeros(len(new), np.int64))

    def tell(self, offspring: Offspring, top1: Floats) -> None:
        """Add networks to the archive; `top1` in percent, (N,)."""
        new = offspring.genes
        self.genes = np.vstack([self.genes, new])
        self.cost = np.concatenate([self.cost, self._latency.evaluate(new)])
        self.top1 = np.concatenate([self.top1, top1])
        # Dominated rows stay dominated: only rows of the fronts and new rows are candidates.
        rows = np.r_[self._own_fronts, np.arange(len(self.genes) - len(new), len(self.genes))]
        islands = [rows[self.genes[rows, 0] == r] for r in np.unique(self.genes[rows, 0])]
        self._own_fronts = np.concatenate([self._front_of(island) for island in islands])
        self.best = self._front_of(self._own_fronts)

    def _parents(self, slack: float) -> GeneMatrix:
        """The points of the resolutions' fronts that lie at most `slack`, a share of the front's
        range of accuracy, below the front; one resolution after the other, by latency, (P, G)."""
        cost, top1 = self.cost[self.best], self.top1[self.best]
        at = np.searchsorted(cost, self.cost[self._own_fronts], side="right") - 1
        near = self.top1[self._own_fronts] >= top1[at] - slack * (top1[-1] - top1[0])
        parents: GeneMatrix = self.genes[self._own_fronts[near]]
        return parents

    def _front_of(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        return rows[non_dominated(self.cost[rows], self.top1[rows])]


def _children(
    space: SearchSpace, parents: GeneMatrix, settings: FrontSettings, rng: np.random.Generator
) -> GeneMatrix:
    """Half mutated points of the front, half crossed with a point nearby, (children, G).

    Args:
        parents: one resolution after the other, by latency.
    """
    index_a = rng.integers(0, len(parents), settings.children)
    half = settings.children // 2
    _, first, sizes = np.unique(parents[:, 0], return_index=True, return_counts=True)
    island = np.repeat(np.arange(len(first)), sizes)[index_a[half:]]
    # Networks of similar latency spend it in different places, which is worth combining.
    reach = np.maximum(1, sizes[island] // 10)
    index_b = index_a[half:] + np.rint(rng.uniform(-1, 1, len(island)) * reach).astype(np.intp)
    index_b = np.clip(index_b, first[island], first[island] + sizes[island] - 1)
    return np.vstack(
        [
            mutate(space, parents[index_a[:half]], settings.mutation_probability, rng),
            crossover(space, parents[index_a[half:]], parents[index_b], settings.by_stage, rng),
        ]
    )

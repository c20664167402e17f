"""The whole trade-off of a device: every budget answered from one table.

1. An additive surrogate of the predictor is fitted on random networks, and its exact front is
   found by dynamic programming over the factors of latency.
2. Evolution along the front: children of neighbouring points, judged by the true predictor. Each
   resolution keeps a front of its own, at first also where another is a little better.
3. The surrogate is fitted again on what was learnt, and both steps repeat.
4. Every network one unit away from a point of the front is judged.

Shapes: N architectures, P points of the front, G genes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import Infeasible
from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, Floats
from search.evolution import TILT, crossover, fit_additive, mutate, neighbours, one_blas_thread
from search.pareto import non_dominated, pareto_front
from search.predictors import AccuracyPredictor, warm_start_pool_of


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Networks that none betters in both, by rising latency and rising accuracy."""

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
    """Random networks that the first surrogate is fitted on."""
    fitted: int = 4000
    """Networks, the latest, that a surrogate is fitted on."""
    rounds: int = 3
    """Times that the surrogate is fitted."""
    width: int = 512
    """Points of a set in the dynamic programme."""
    generations: int = 150
    """Of evolution in a round."""
    children: int = 400
    """Judged in a generation."""
    mutation_probability: float = 0.5
    """Of a second and of a third changed unit in a mutated child."""
    by_stage: float = 0.7
    """Share of crossings that exchange whole stages."""
    slack: float = 0.1
    """How far below the front a resolution's own may lie to have children, a share of the
    front's rise; shrinks to 0 in every round."""
    polished: int = 100
    """Points, spread over the front, whose neighbours are all tried at the end."""


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
        seed: of the one random generator; the same seed gives the same front, bit for bit.
        on_share: told how much is done, 0..1, after each generation.
    """
    one_blas_thread()
    rng = np.random.default_rng(seed)
    archive = _Archive(space, predictor, latency)
    sampled = space.sample_tilted(settings.samples, TILT, rng)
    archive.judge(np.vstack([latency.floor_genes, sampled, warm_start_pool_of(predictor, space)]))
    for round_ in range(settings.rounds):
        # The latest rows lie near the front, where the surrogate should be right.
        recent = slice(-settings.fitted, None)
        surrogate = fit_additive(space, archive.genes[recent], archive.top1[recent])
        points = pareto_front(latency.factors, surrogate.factors, space.n_choices, settings.width)
        archive.judge(space.canonical(points.genes))
        for generation in range(settings.generations):
            slack = settings.slack * (1 - generation / settings.generations)
            archive.judge(_children(space, archive.parents(slack), settings, rng))
            done = round_ + (generation + 1) / settings.generations
            on_share(done / settings.rounds)
    best = archive.best
    spread = np.linspace(0, len(best) - 1, min(len(best), settings.polished)).astype(np.intp)
    around = [neighbours(space, row).genes for row in archive.genes[best[spread]]]
    archive.judge(np.vstack(around))
    best = archive.best
    return Front(archive.genes[best], archive.cost[best], archive.top1[best])


def answer(points: Front, budget_ms: float) -> int:
    """Index of the most accurate point within `budget_ms`.

    Raises:
        Infeasible: if even the first point is slower.
    """
    index = int(np.searchsorted(points.latency_ms, budget_ms, side="right")) - 1
    if index < 0:
        raise Infeasible("latency_ms", budget_ms, float(points.latency_ms[0]))
    return index


class _Archive:
    """Every network judged so far, each once."""

    def __init__(
        self, space: SearchSpace, predictor: AccuracyPredictor, latency: CostModel
    ) -> None:
        self._predictor, self._latency = predictor, latency
        self._seen: set[bytes] = set()
        self.genes: GeneMatrix = np.empty((0, len(space.genes)), np.uint8)
        self.cost: Floats = np.empty(0)
        self.top1: Floats = np.empty(0)
        self.elite: npt.NDArray[np.intp] = np.empty(0, np.intp)
        """Rows of each resolution's front so far, one resolution after the other, by latency."""
        self.best: npt.NDArray[np.intp] = np.empty(0, np.intp)
        """Rows of the front so far, by rising latency."""

    def judge(self, rows: GeneMatrix) -> None:
        """Add the rows that are new."""
        keys = dict.fromkeys(row.tobytes() for row in rows)
        fresh = [key for key in keys if key not in self._seen]
        self._seen.update(fresh)
        new = np.frombuffer(b"".join(fresh), np.uint8).reshape(len(fresh), rows.shape[1])
        if not len(new):
            return
        self.genes = np.vstack([self.genes, new])
        self.cost = np.concatenate([self.cost, self._latency.evaluate(new)])
        self.top1 = np.concatenate([self.top1, self._predictor.predict(new)])
        # What was dominated stays so: only the fronts and the new rows can be on them.
        rivals = np.r_[self.elite, np.arange(len(self.genes) - len(new), len(self.genes))]
        islands = [rivals[self.genes[rivals, 0] == r] for r in np.unique(self.genes[rivals, 0])]
        self.elite = np.concatenate([self._front_of(island) for island in islands])
        self.best = self._front_of(self.elite)

    def parents(self, slack: float) -> GeneMatrix:
        """The resolutions' fronts where they lie at most `slack`, a share of the front's rise,
        below the front; one resolution after the other, by latency, (P, G)."""
        cost, top1 = self.cost[self.best], self.top1[self.best]
        at = np.searchsorted(cost, self.cost[self.elite], side="right") - 1
        near = self.top1[self.elite] >= top1[at] - slack * (top1[-1] - top1[0])
        parents: GeneMatrix = self.genes[self.elite[near]]
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
    mother = rng.integers(0, len(parents), settings.children)
    half = settings.children // 2
    _, first, sizes = np.unique(parents[:, 0], return_index=True, return_counts=True)
    island = np.repeat(np.arange(len(first)), sizes)[mother[half:]]
    # Networks of like latency differ in where they spend it: those are worth mixing.
    reach = np.maximum(1, sizes[island] // 10)
    father = mother[half:] + np.rint(rng.uniform(-1, 1, len(island)) * reach).astype(np.intp)
    father = np.clip(father, first[island], first[island] + sizes[island] - 1)
    return np.vstack(
        [
            mutate(space, parents[mother[:half]], settings.mutation_probability, rng),
            crossover(space, parents[mother[half:]], parents[father], settings.by_stage, rng),
        ]
    )

"""Sensitivity of a network: what single changes, and more latency, cost and gain.

All numbers are differences of predictions, which are more exact than the predictions themselves:
an error that two neighbouring networks share cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.spaces import Arch, GeneMatrix, SearchSpace, place_of
from search.costs import CostModel
from search.evolution import neighbours
from search.front import Front
from search.predictors import AccuracyPredictor

STEPS = (0.05, 0.1, 0.25, 0.5)
"""More latency, as shares of what a network takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A network one unit away (a block, a depth, a width, the resolution), and the difference."""

    unit: str
    """Where: "stage2_block3", "stage2" for its depth or width, "resolution"."""
    change: str
    """In words: "kernel 5 to 3, expand 6 to 4"."""
    arch: Arch
    extra_ms: float
    """Its latency minus that of the original network."""
    gain: float
    """Its top-1 minus that of the original network, percentage points."""

    @property
    def points_per_ms(self) -> float:
        """Accuracy gained or lost for a millisecond spent or saved."""
        return self.gain / self.extra_ms


def changes(
    space: SearchSpace, predictor: AccuracyPredictor, latency: CostModel, arch: Arch
) -> list[Change]:
    """Every single change of `arch` that alters its latency, in the order of the genes."""
    (row,) = space.encode([arch])
    near = neighbours(space, row)
    rows = np.vstack([row[None], near.genes])
    ms, top1 = latency.evaluate(rows), predictor.predict(rows)
    return [
        Change(
            unit=_unit(space, near.changed[i]),
            change=_in_words(space, row, near.genes[i]),
            arch=other,
            extra_ms=float(ms[i + 1] - ms[0]),
            gain=float(top1[i + 1] - top1[0]),
        )
        for i, other in enumerate(space.decode(near.genes))
        if ms[i + 1] != ms[0]
    ]


def shrink_first(single_changes: Sequence[Change]) -> list[Change]:
    """For each unit the change that loses least accuracy a saved millisecond, best unit first."""
    return _best_of_each_unit([c for c in single_changes if c.extra_ms < 0], sign=1)


def grow_first(single_changes: Sequence[Change]) -> list[Change]:
    """For each unit the change that gains most accuracy a spent millisecond, best unit first."""
    gains = [c for c in single_changes if c.extra_ms > 0 and c.gain > 0]
    return _best_of_each_unit(gains, sign=-1)


def _best_of_each_unit(candidates: Sequence[Change], sign: int) -> list[Change]:
    ranked = sorted(candidates, key=lambda c: sign * c.points_per_ms)
    best: dict[str, Change] = {}
    for change in ranked:
        best.setdefault(change.unit, change)
    return list(best.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreTime:
    """The front's best network for a larger latency."""

    extra_ms: float
    """Added to the latency of the network compared with."""
    arch: Arch
    latency_ms: float
    top1: float
    """Predicted, percent."""
    gain: float
    """`top1` minus that of the front's best network without more latency, percentage points."""


def more_time(space: SearchSpace, points: Front, latency_ms: float) -> list[MoreTime]:
    """The front's best with 5, 10, 25 and 50 % more latency, and with one millisecond more.

    Each network comes once, with the smallest addition for which it is the best.

    Args:
        latency_ms: of the network compared with, at least the front's lowest.
    """
    extras = sorted({*(share * latency_ms for share in STEPS), 1.0})
    now = _within(points, latency_ms)
    first_extra: dict[int, float] = {}
    for extra_ms in extras:
        index = _within(points, latency_ms + extra_ms)
        if index > now:
            first_extra.setdefault(index, extra_ms)
    archs = space.decode(points.genes[list(first_extra)])
    return [
        MoreTime(
            extra_ms=extra_ms,
            arch=arch,
            latency_ms=float(points.latency_ms[index]),
            top1=float(points.top1[index]),
            gain=float(points.top1[index] - points.top1[now]),
        )
        for (index, extra_ms), arch in zip(first_extra.items(), archs, strict=True)
    ]


def _within(points: Front, latency_ms: float) -> int:
    return max(0, int(np.searchsorted(points.latency_ms, latency_ms, side="right")) - 1)


def _unit(space: SearchSpace, changed: GeneMatrix) -> str:
    """The block, the stage of a depth or a width, or the resolution."""
    place, _, name = place_of(space, space.genes[int(np.flatnonzero(changed)[0])]).rpartition(".")
    return place or name


def _in_words(space: SearchSpace, before: GeneMatrix, after: GeneMatrix) -> str:
    """The genes that differ, and the kind of blocks that are new."""
    before_active, after_active = space.active(np.stack([before, after]))
    in_both, new = before_active & after_active, after_active & ~before_active
    words = [
        f"{gene.name} {gene.choices[old]:g} to {gene.choices[new_choice]:g}"
        for gene, old, new_choice, both in zip(space.genes, before, after, in_both, strict=True)
        if both and old != new_choice
    ]
    kinds = {
        gene.name: f"{gene.name} {gene.choices[choice]:g}"
        for gene, choice, added in zip(space.genes, after, new, strict=True)
        if added
    }
    return ", ".join(words) + (f" ({', '.join(kinds.values())})" if kinds else "")

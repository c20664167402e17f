"""How hard a search tries: named amounts of work, counted in evaluations and never in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Effort = Literal["quick", "normal", "thorough"]
DEFAULT_EFFORT: Effort = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An amount of breeding."""

    evaluations: int
    """Most networks bred and evaluated."""
    batch: int
    """Most networks evaluated at a time."""
    capacity: int
    """Networks of a niche."""
    slack: float
    """How far a network may be below the best of its load at first, in standard deviations of the
    accuracies of random networks."""
    rounds: int = 1
    """Times that the slack shrinks."""

    def twice(self) -> Work:
        """Twice as many networks: for several limits, where a front of one cost helps less."""
        return replace(self, evaluations=2 * self.evaluations)


EFFORTS: dict[Effort, Work] = {
    "quick": Work(evaluations=2_000, batch=256, capacity=4, slack=0.5),
    "normal": Work(evaluations=12_000, batch=512, capacity=4, slack=1.0),
    "thorough": Work(evaluations=100_000, batch=1024, capacity=8, slack=1.0, rounds=3),
}

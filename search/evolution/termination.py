"""When an evolution stops, decided after each generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """State of a search after a generation."""

    generation: int
    """Generations completed."""
    evaluations: int
    """Networks evaluated by the predictor so far."""
    seconds: float
    """Since the start, by the clock of the search."""
    top1: float
    """Best predicted accuracy so far, percent."""
    stalled_generations: int
    """Generations since `top1` last rose."""
    share: float = 0.0
    """Share of the search that is done by its termination, 0 to 1."""


class Termination(Protocol):
    """A stopping criterion."""

    def share(self, progress: SearchProgress) -> float:
        """Share of the search that is done; 1 or more stops it."""
        ...


@dataclass(frozen=True, slots=True)
class MaxGenerations:
    """Stop after `limit` generations."""

    limit: int

    def share(self, progress: SearchProgress) -> float:
        """See `Termination`."""
        return progress.generation / self.limit


@dataclass(frozen=True, slots=True)
class Stalled:
    """Stop after `generations` in a row without a better network."""

    generations: int

    def share(self, progress: SearchProgress) -> float:
        """See `Termination`."""
        return progress.stalled_generations / self.generations


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Stop at the first of `terminations`."""

    terminations: tuple[Termination, ...]

    def share(self, progress: SearchProgress) -> float:
        """See `Termination`."""
        return max(termination.share(progress) for termination in self.terminations)

"""When a search stops: values asked once a generation, each a share done from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands after a generation."""

    generation: int
    """Generations told so far."""
    evaluations: int
    """Architectures asked of the predictor so far."""
    seconds: float
    """Since the start, by the clock that the run was given."""
    top1: float
    """Best predicted accuracy so far, percent."""
    stalled_generations: int
    """Generations since `top1` last rose."""
    share: float = 0.0
    """How far the termination says it is, 0 to 1."""


class Termination(Protocol):
    """Says how much of a search is done; 1 or more stops it."""

    def share(self, progress: Progress) -> float:
        """Share done, 0 to 1 and beyond."""
        ...


@dataclass(frozen=True, slots=True)
class MaxGenerations:
    """Stop after `limit` generations."""

    limit: int

    def share(self, progress: Progress) -> float:
        """See `Termination`."""
        return progress.generation / self.limit


@dataclass(frozen=True, slots=True)
class Stalled:
    """Stop after `generations` in a row without a better network."""

    generations: int

    def share(self, progress: Progress) -> float:
        """See `Termination`."""
        return progress.stalled_generations / self.generations


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Stop when the first of `terminations` says so."""

    terminations: tuple[Termination, ...]

    def share(self, progress: Progress) -> float:
        """See `Termination`."""
        return max(termination.share(progress) for termination in self.terminations)

"""What a search reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Share of the search that is done, 0 to 1."""

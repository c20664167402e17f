"""How far a training is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The position of a training run; `step` and `steps` count all phases."""

    phase: str
    step: int
    steps: int
    loss: float
    """Of this step, mean over its subnets; on a GPU of one of the last ten steps."""
    learning_rate: float = 0.0
    images_per_s: float | None = None
    """Training images, however many subnets each is shown to; None: not known yet."""
    seconds_left: float | None = None
    """In all phases; None: not known yet."""
    doing: str = ""
    """What is done between two steps, where that takes a while."""


OnProgress = Callable[[TrainingProgress], None]

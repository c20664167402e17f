"""The phases of a training, as long as the time allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from models.spaces import MobileSpace
from models.training.recipe import Phase

FULL_SHARE = 0.35
"""Of the training's time, for the largest network alone."""
MOST_FULL, MOST_ELASTIC = 100, 200
"""Epochs of each phase beyond which more time is of little use."""
RATE_BATCH = 32
"""Batch that the learning rates are for; of others they follow the square root."""
FULL_RATE, ELASTIC_RATE = 0.1, 0.05
SUMMED_DECAY = 2
"""Times the weight decay, where the gradients of three subnets are summed."""


@dataclass(frozen=True)
class Phases:
    """First the largest network alone, then all subnets by the sandwich rule with in-place
    distillation (BigNAS, arXiv 2003.11142)."""

    space: MobileSpace
    batch_size: int
    weight_decay: float

    @property
    def _rate(self) -> float:
        return math.sqrt(self.batch_size / RATE_BATCH)

    @cached_property
    def full(self) -> Phase:
        """One epoch of the largest network."""
        rate = round(FULL_RATE * self._rate, 4)
        return Phase(name="full", epochs=1, learning_rate=rate, warmup_epochs=0.5)

    @cached_property
    def elastic(self) -> Phase:
        """One epoch of everything."""
        return Phase(
            name="elastic",
            epochs=1,
            learning_rate=round(ELASTIC_RATE * self._rate, 4),
            warmup_epochs=0.5,
            weight_decay=SUMMED_DECAY * self.weight_decay,
            resolutions=self.space.resolutions,
            kernels=self.space.kernels,
            expands=self.space.expands,
            depths=self.space.stages[0].depths,
            sort_channels=True,
            always=("largest", "smallest"),
            teacher="largest",
            distill=1.0,
        )

    def lasting(self, training_s: float, full_s: float, elastic_s: float) -> tuple[Phase, ...]:
        """Both in so many seconds, each of an epoch at least.

        Args:
            full_s: seconds of an epoch of the first, `elastic_s` of the second.
        """
        first = min(max(int(FULL_SHARE * training_s / full_s), 1), MOST_FULL)
        second = min(max(int((training_s - first * full_s) / elastic_s), 1), MOST_ELASTIC)
        return _long(self.full, first), _long(self.elastic, second)


def _long(phase: Phase, epochs: int) -> Phase:
    """With a tenth of it to warm up, two epochs at most."""
    return replace(phase, epochs=epochs, warmup_epochs=min(2.0, epochs / 10))

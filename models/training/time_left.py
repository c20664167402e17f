"""How long a training still takes, over all phases.

Later phases train more subnets in a step, and smaller ones. So the time of a step is not carried
over from one phase to the next as it is, but in proportion to the work of their steps: the
multiply-accumulates of the subnets that they train.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from models.spaces import Arch, SearchSpace, layer_plan
from models.training.optim import archs_of_step
from models.training.recipe import Phase, Recipe

DRAWS = 8
"""Steps of a phase whose subnets are drawn, to know its mean work."""
LATEST = 50
"""Steps whose time counts."""
OVERHEAD = 0.05
"""Work of a subnet besides its MACs, as a share of the largest one's: on one thread, subnets of
the shipped space with 0.07, 0.27, 0.34 and 0.44 of its MACs took 0.12, 0.31, 0.37 and 0.50 of its
time."""


class TimeLeft:
    """Told of every step; knows how long the others take."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int, *, is_masked: bool = False) -> None:
        """
        Args:
            is_masked: whether every subnet costs what the largest one of its resolution does, as on
                a GPU (`models.supernet.masked`).
        """
        self._steps_P = [phase.steps(steps_per_epoch) for phase in recipe.phases]
        self._work_P = [
            mean_work(phase, recipe.space, recipe.seed, is_masked) for phase in recipe.phases
        ]
        self._latest: deque[float] = deque(maxlen=LATEST)
        """Seconds for a unit of work."""
        self._phase, self._is_first = -1, True

    def add(self, phase: int, seconds: float) -> None:
        """A step of `phase` took so long.

        The first one of a phase also prepares what its new shapes need. It counts only while
        nothing else is known.
        """
        if phase != self._phase:
            self._phase, self._is_first = phase, True
            if self._latest:
                return
        elif self._is_first:
            self._latest.clear()
            self._is_first = False
        self._latest.append(seconds / self._work_P[phase])

    @property
    def step_s(self) -> float:
        """Seconds a step of the present phase takes."""
        return self._seconds_per_work * self._work_P[self._phase]

    def seconds(self, phase: int, done: int) -> float:
        """Seconds left after `done` steps of `phase`."""
        here = (self._steps_P[phase] - done) * self._work_P[phase]
        later = zip(self._steps_P[phase + 1 :], self._work_P[phase + 1 :], strict=True)
        return self._seconds_per_work * (here + sum(steps * work for steps, work in later))

    @property
    def _seconds_per_work(self) -> float:
        return sum(self._latest) / len(self._latest)


def mean_work(phase: Phase, space: SearchSpace, seed: int, is_masked: bool = False) -> float:
    """Of a step of `phase`, in units of a step of the largest network."""
    rng = np.random.default_rng([seed, 17])
    most = macs(space, space.largest)
    steps = [archs_of_step(phase, space, rng) for _ in range(DRAWS)]
    if is_masked:
        steps = [[space.at([arch.resolution]).largest for arch in step] for step in steps]
    return sum(macs(space, arch) / most + OVERHEAD for step in steps for arch in step) / DRAWS


def macs(space: SearchSpace, arch: Arch) -> int:
    """Multiply-accumulates of one network for one image."""
    return sum(layer.macs for layer in layer_plan(space, arch))

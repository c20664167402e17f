"""Watches a training: validates subnets now and then, and writes down where the training is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from models.spaces import layer_plan
from models.training.progress import TrainingProgress
from models.training.time_left import TimeLeft
from models.training.trainer import Trainer
from models.training.training_log import (
    TrainingPoint,
    TrainingStatus,
    append_point,
    forget_points_after,
    read_points,
    spread_points,
    write_status,
)
from models.training.validation import Validation, watched_subnets

POINTS = 100
"""Times that a training is validated, and at the end of each phase, if there is time for it; in
any case at its end."""
SHARE = 0.03
"""Of the time, that validation may take."""
FIRST_COST_S = 0.3
"""Taken for the cost of the first validation, so that it comes after ten seconds."""
STATUS_S = 2.0
"""Seconds between two statuses."""

OnPoint = Callable[[TrainingPoint], None]


class TrainingWatch:
    """Of one training, on the process that writes its checkpoints."""

    def __init__(self, trainer: Trainer, on_point: OnPoint = lambda _: None) -> None:
        """
        Args:
            trainer: before it runs.
            on_point: told of every validation.
        """
        recipe, self._folder, self._on_point = trainer.recipe, trainer.folder, on_point
        self.archs = watched_subnets(recipe.space, recipe.seed)
        self._subnets = {
            name: {
                "arch": arch.to_json(),
                "macs": sum(layer.macs for layer in layer_plan(recipe.space, arch)),
            }
            for name, arch in self.archs.items()
        }
        self._validation = Validation(recipe, trainer.data, trainer.validation)
        self._time_left = TimeLeft(
            recipe, trainer.steps_per_epoch, is_masked=trainer.device.type == "cuda"
        )
        self._earlier_s = trainer.spent["duration_s"]
        self._start = self._step_start = time.monotonic()
        self._status_at = -STATUS_S
        self._losses: list[float] = []
        self.spent_s = 0.0
        """By validation."""
        self._cost_s = FIRST_COST_S
        forget_points_after(self._folder, trainer.position(0.0).step)

    def after_step(self, trainer: Trainer, now: TrainingProgress) -> TrainingProgress:
        """Called after every step; returns what is known of it."""
        self._time_left.add(trainer.phase, time.monotonic() - self._step_start)
        self._losses.append(now.loss)
        now = replace(
            now,
            images_per_s=trainer.recipe.batch_size / self._time_left.step_s,
            seconds_left=self._time_left.seconds(trainer.phase, trainer.step),
        )
        is_end = trainer.step == trainer.steps_of_phase
        if now.step == now.steps or self._is_due(now, is_end):
            self._validate(trainer, now)
        if is_end or time.monotonic() - self._status_at >= STATUS_S:
            self.write_status(now)
        self._step_start = time.monotonic()
        return now

    def write_status(self, now: TrainingProgress, *, finished: bool = False) -> None:
        """Say where the training is."""
        self._status_at = time.monotonic()
        status = TrainingStatus(
            phase=now.phase,
            step=now.step,
            steps=now.steps,
            loss=finite(now.loss),
            images_per_s=now.images_per_s,
            seconds_left=now.seconds_left,
            subnets=self._subnets,
            validation_images=self._validation.images,
            finished=finished,
        )
        write_status(self._folder, status)

    def curve(self, most: int) -> dict[str, Any]:
        """All validations, at most so many of them, for the card."""
        images = self._validation.images
        return {
            "points": [asdict(p) for p in spread_points(read_points(self._folder), most)],
            "subnets": self._subnets,
            "target": f"top-1 on {images} images held out of training, after recalibration",
            "provenance": "measured",
        }

    def _is_due(self, now: TrainingProgress, is_end: bool) -> bool:
        """Whether this step has a place on the curve, and validating it costs little enough."""
        is_place = now.step * POINTS // now.steps > (now.step - 1) * POINTS // now.steps
        passed_s = time.monotonic() - self._start
        return (is_place or is_end) and self.spent_s + self._cost_s <= SHARE * passed_s

    def _validate(self, trainer: Trainer, now: TrainingProgress) -> None:
        start = time.monotonic()
        top1 = self._validation.top1(trainer.supernet, self.archs)
        self._cost_s = time.monotonic() - start
        self.spent_s += self._cost_s
        point = TrainingPoint(
            step=now.step,
            seconds=round(self._earlier_s + start - self._start, 1),
            phase=now.phase,
            loss=finite(sum(self._losses) / len(self._losses)),
            learning_rate=now.learning_rate,
            top1=top1,
        )
        self._losses.clear()
        append_point(self._folder, point)
        self._on_point(point)


def finite(loss: float) -> float | None:
    """JSON has no number for a training that diverges."""
    return loss if math.isfinite(loss) else None

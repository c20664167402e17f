"""Trainings of this installation, as their folders tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.training import (
    MAX_POINTS,
    TrainingRecord,
    read_training,
    read_trainings,
    spread_points,
)
from service.contracts import TrainingRead, TrainingSample, TrainingSummary


def summarize_trainings(home: Path) -> Sequence[TrainingSummary]:
    """All of them, without their curves."""
    return [TrainingSummary(**_summary(record)) for record in read_trainings(home)]


def describe_training(home: Path, name: str) -> TrainingRead:
    """One training with its curve.

    Raises:
        NotFound: with the nearest known name.
    """
    record = read_training(home, name)
    status = record.status
    return TrainingRead(
        **_summary(record),
        points=[
            TrainingSample(**asdict(point)) for point in spread_points(record.points, MAX_POINTS)
        ],
        subnets={name: dict(subnet) for name, subnet in status.subnets.items()},
        validation_images=status.validation_images,
    )


def _summary(record: TrainingRecord) -> dict[str, Any]:
    status = record.status
    return {
        "name": record.name,
        "state": record.state,
        "phase": status.phase,
        "step": status.step,
        "steps": status.steps,
        "loss": status.loss,
        "images_per_s": status.images_per_s,
        "seconds_left": status.seconds_left,
        "top1": dict(record.points[-1].top1) if record.points else {},
        "updated_at": status.updated_at,
    }

"""Trainings that take a second: made-up photos in class folders, and a recipe for them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from models.training.recipe import RECIPES
from models.training.training_log import (
    TrainingPoint,
    TrainingStatus,
    append_point,
    write_status,
)

TRAINING = "photos"
BATCH, HELD_OUT, STEPS_PER_EPOCH, PHASES = 16, 36, 4, 4
STEPS = STEPS_PER_EPOCH * PHASES


def write_photos(folder: Path) -> Path:
    """Ten classes that differ in brightness, in the layout of `load_dataset`."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 3)):
        for label in range(10):
            place = folder / split / f"{label}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(20 * label, 20 * label + 60, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def write_recipe(path: Path, photos: Path, *, epochs: int = 1) -> Path:
    """The debug recipe for these photos, at a file of its name."""
    text = (RECIPES / "debug.toml").read_text()
    changes = {
        r'name = "debug"\ndataset = .*': f'name = "{path.stem}"\ndataset = "{photos}"',
        r"holdout = .*": f"holdout = {HELD_OUT}",
        r"batch_size = .*": f"batch_size = {BATCH}",
        r"epochs = .*": f"epochs = {epochs}",
        r"resolutions = \[16, 28\]": "resolutions = [8, 16]",
    }
    for pattern, line in changes.items():
        text, count = re.subn(pattern, line, text)
        assert count, pattern
    path.write_text(text)
    return path


def write_training(home: Path) -> list[TrainingPoint]:
    """What a training that was stopped in the middle leaves in a home for others to read."""
    folder = home / "training" / TRAINING
    folder.mkdir(parents=True)
    points = [
        TrainingPoint(
            step=step,
            seconds=step / 2,
            phase="depth",
            loss=loss,
            learning_rate=0.1,
            top1={"largest": largest, "smallest": 40.25},
        )
        for step, loss, largest in ((60, 1.5, 50.0), (120, None, 61.5))
    ]
    for point in points:
        append_point(folder, point)
    status = TrainingStatus(
        phase="depth",
        step=120,
        steps=400,
        loss=1.25,
        images_per_s=300.0,
        seconds_left=84.0,
        subnets={"largest": {"arch": {}, "macs": 5}, "smallest": {"arch": {}, "macs": 1}},
        validation_images=1000,
    )
    write_status(folder, status)
    return points

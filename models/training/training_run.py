"""Train a supernet by a recipe and write its bundle."""

from __future__ import annotations

import io
import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save

from models.bundle import Bundle, write_bundle
from models.data import LabelledImages, OnShare
from models.errors import Conflict
from models.onnx import ImageSet, measure_top1
from models.training.processes import training_device
from models.training.recipe import Recipe
from models.training.stopping import StopSignals
from models.training.trainer import OnProgress, Trainer
from models.training.training_log import running, trainings_folder
from models.training.training_watch import OnPoint, TrainingWatch

CALIBRATION_IMAGES = 1024
VALIDATION_IMAGES = 2000
CURVE_POINTS = 40
"""Points of the validation curve that a card keeps, at most."""


def training_folder(recipe: Recipe, home: Path) -> Path:
    """Where a recipe's checkpoints live."""
    return trainings_folder(home) / recipe.name


def train(
    recipe: Recipe,
    home: Path,
    *,
    resume: bool = False,
    on_progress: OnProgress = lambda _: None,
    on_images: OnShare = lambda share, doing: None,
    on_point: OnPoint = lambda _: None,
    stop: StopSignals | None = None,
) -> Path:
    """Train by `recipe` and write the bundle `home/supernets/NAME`; also under torchrun.

    Args:
        resume: go on from the last checkpoint, to the same result as without the interruption.
        on_progress: told of every step, on the first of several processes.
        on_images: told how many images of a folder are decoded, before the training.
        on_point: told of every validation, there.
        stop: ends the training after the step in which a signal came, with a checkpoint.

    Returns:
        The bundle's folder.

    Raises:
        Conflict: if the bundle exists, or a training is under way and `resume` is false, or
            another process trains by this recipe.
        NotFound: if the images are not on this machine.
        TrainingStopped: if a signal came.
    """
    target = home / "supernets" / recipe.name
    if target.exists():
        raise Conflict(f"supernet {recipe.name!r} exists in {target.parent}: remove it to retrain")
    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if many:
        device = training_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # where NCCL's own messages go
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    stop = stop or StopSignals(is_final=many)
    try:
        folder = training_folder(recipe, home)
        trainer = Trainer(recipe, folder, resume, home / "images", on_images)
        if trainer.rank == 0:
            with running(trainer.folder), stop:
                watch = TrainingWatch(trainer, on_point)
                trainer.run(on_progress, watch=watch, stop=stop)
                end = trainer.position(math.nan, "measuring the corners, writing the supernet")
                on_progress(end)
                publish(trainer, target, watch)
                watch.write_status(end, finished=True)
        else:
            with stop:
                trainer.run(stop=stop)
        if many:
            dist.barrier()
    finally:
        if many:
            dist.destroy_process_group()
    return target


def publish(trainer: Trainer, target: Path, watch: TrainingWatch) -> Bundle:
    """Write the bundle of a finished training, with the corners' measured test accuracy and the
    curve of its validation."""
    recipe, supernet = trainer.recipe, trainer.supernet.cpu().eval()
    rng = np.random.default_rng([recipe.seed, 11])
    chosen = np.sort(rng.permutation(len(trainer.data))[:CALIBRATION_IMAGES])
    calibration = trainer.data.take(chosen)
    held = np.sort(rng.permutation(len(trainer.validation))[:VALIDATION_IMAGES])
    validation = trainer.validation.take(held)
    test = trainer.dataset.test
    calibration_set = ImageSet(calibration.images, recipe.mean, recipe.std)
    test_set = ImageSet(test.images, recipe.mean, recipe.std)
    space = recipe.space
    corners = {
        name: round(measure_top1(supernet, arch, calibration_set, test_set, test.labels, 2), 2)
        for name, arch in (("largest", space.largest), ("smallest", space.smallest))
    }
    weights = {k: v.detach().contiguous() for k, v in supernet.state_dict().items()}
    card = {
        "format": 1,
        "name": recipe.name,
        "licence": trainer.dataset.licence,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "space": space.to_json(),
        "cardinality": space.cardinality,
        "preprocess": {
            "channels": space.channels,
            "interpolation": "bilinear",
            "mean": list(recipe.mean),
            "std": list(recipe.std),
        },
        "data": _data_card(trainer),
        "recipe": {k: v for k, v in recipe.to_json().items() if k != "space"},
        "metrics": {
            "test_top1": {**corners, "provenance": "measured", "images": len(test)},
        },
        "energy": {"training": {**trainer.spent, **trainer.conditions}},
        "curve": watch.curve(CURVE_POINTS),
    }
    files = {
        "weights.safetensors": save(weights),
        "calibration.npz": _npz(calibration),
        "validation.npz": _npz(validation),
        **trainer.dataset.notices,
    }
    return write_bundle(target, card, files)


def _data_card(trainer: Trainer) -> dict[str, Any]:
    recipe, data = trainer.recipe, trainer.dataset
    return {
        "name": data.name,
        "source": data.source,
        "licence": data.licence,
        "classes": list(data.classes),
        "training_images": len(trainer.data),
        "held_out_images": len(trainer.validation),
        "held_out": f"hold_out(train, {recipe.holdout}, seed={recipe.seed})",
        "calibration_images": min(CALIBRATION_IMAGES, len(trainer.data)),
        "validation_images": min(VALIDATION_IMAGES, len(trainer.validation)),
    }


def _npz(data: LabelledImages) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=data.images[:], labels=data.labels)
    return buffer.getvalue()

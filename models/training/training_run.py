"""Train a supernet by a recipe and write its bundle."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save

from models.bundle import Bundle, BundleRegistry, add_to_bundle, write_bundle
from models.data import LabelledImages, OnShare, calibration_count, check_unchanged
from models.errors import Conflict
from models.layers.modules import channels_last
from models.onnx import ImageSet, measure_top1
from models.spaces import Arch, SearchSpace
from models.supernet import Supernet
from models.training.from_scratch import reference_archs
from models.training.processes import leave_group, training_device
from models.training.progress import OnProgress
from models.training.recipe import Recipe
from models.training.stopping import StopSignals
from models.training.trainer import Trainer
from models.training.training_log import (
    AFTER_FIRST,
    CHECKPOINT,
    SCRATCH,
    running,
    trainings_folder,
)
from models.training.training_watch import OnPoint, TrainingWatch

VALIDATION_IMAGES = 2000
CURVE_POINTS = 40
"""Points of the validation curve that a card keeps, at most."""


def training_folder(recipe: Recipe, home: Path) -> Path:
    """Where a recipe's checkpoints live."""
    return trainings_folder(home) / recipe.name


def scratch_folder(recipe: Recipe, home: Path) -> Path:
    """Where those of the training from scratch live that an adaptation is compared with."""
    return training_folder(recipe, home) / SCRATCH


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
        The bundle's folder. Of several processes, the first writes it, and the others do not wait.

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
        base = _base(recipe, home, is_under_way=resume and (folder / CHECKPOINT).exists())
        trainer = Trainer(recipe, folder, resume, home / "images", on_images, base)
        if trainer.rank == 0:
            with running(trainer.folder), stop:
                watch = TrainingWatch(trainer, on_point)
                trainer.run(on_progress, watch=watch, stop=stop)
                leave_group()
                end = trainer.position(math.nan, "measuring the corners, writing the supernet")
                on_progress(end)
                publish(trainer, target, watch)
                watch.write_status(end, finished=True)
        else:
            with stop:
                trainer.run(stop=stop)
    finally:
        leave_group()
    return target


def _base(recipe: Recipe, home: Path, *, is_under_way: bool) -> Bundle | None:
    """The supernet whose weights the training starts from; None: it starts from none, or has
    started."""
    if recipe.base is None or is_under_way:
        return None
    return BundleRegistry(home).get(recipe.base)


def publish(trainer: Trainer, target: Path, watch: TrainingWatch) -> Bundle:
    """Write the bundle of a finished training, with the corners' measured test accuracy and the
    curve of its validation."""
    recipe, supernet = trainer.recipe, trainer.supernet.cpu().eval()
    calibration = _calibration(trainer)
    rng = np.random.default_rng([recipe.seed, 11])
    rng.permutation(len(trainer.data))  # drawn for the calibration images
    held = np.sort(rng.permutation(len(trainer.validation))[:VALIDATION_IMAGES])
    validation = trainer.validation.take(held)
    space = recipe.space
    if recipe.base is None:
        corners = _test_top1(trainer, {"largest": space.largest, "smallest": space.smallest})
    else:
        adaptation = _adaptation(trainer)
        found = adaptation["adapted"] or adaptation["head_only"]
        corners = {name: found[name] for name in ("largest", "smallest")}
    weights = {k: v.detach().contiguous() for k, v in supernet.state_dict().items()}
    card = {
        "format": 1,
        "name": recipe.name,
        "licence": _licence(trainer),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "space": space.to_json(),
        "cardinality": space.cardinality,
        "preprocess": {
            "channels": space.channels,
            "interpolation": "bilinear",
            "mean": list(recipe.mean),
            "std": list(recipe.std),
            "fit": "squeeze",
            "stored_size": trainer.dataset.train.images.shape[1],
        },
        "data": _data_card(trainer),
        "recipe": {k: v for k, v in recipe.to_json().items() if k != "space"},
        "metrics": {
            "test_top1": {
                **corners,
                "provenance": "measured",
                "images": len(trainer.dataset.test),
            },
            **({} if recipe.base is None else {"adaptation": adaptation}),
        },
        "energy": {"training": {**trainer.spent, **trainer.conditions}},
        "curve": watch.curve(CURVE_POINTS),
        **({"base": trainer.base} if trainer.base else {}),
    }
    files = {
        "weights.safetensors": save(weights),
        "calibration.npz": _npz(calibration),
        "validation.npz": _npz(validation),
        **trainer.dataset.notices,
    }
    return write_bundle(target, card, files)


def compare_with_scratch(
    bundle: Bundle,
    recipe: Recipe,
    scratch: Recipe,
    home: Path,
    *,
    on_progress: OnProgress = lambda _: None,
    stop: StopSignals | None = None,
) -> Bundle:
    """Train by `scratch`, which has no base, what `bundle` was adapted to by `recipe`, and note its
    accuracies beside the others; goes on where it was stopped.

    Raises:
        TrainingStopped: if a signal came.
    """
    folder, stop = scratch_folder(recipe, home), stop or StopSignals()
    trainer = Trainer(scratch, folder, resume=True, images=home / "images")
    check_unchanged(trainer.dataset, bundle.card.get("data", {}), f"supernet {bundle.name!r}")
    with running(folder), stop:
        trainer.run(on_progress, watch=TrainingWatch(trainer), stop=stop)
    on_progress(trainer.position(math.nan, "measuring networks trained from scratch"))
    metrics = bundle.card["metrics"]
    found = {
        **_test_top1(trainer, adapted_archs(scratch.space)),
        "training_s": round(trainer.spent["duration_s"], 1),
    }
    adaptation = {**metrics["adaptation"], "from_scratch": found}
    return add_to_bundle(bundle, {"metrics": {**metrics, "adaptation": adaptation}}, {})


def adapted_archs(space: SearchSpace) -> dict[str, Arch]:
    """The networks by which an adaptation is compared."""
    largest, middle, *_, smallest = reference_archs(space)
    return {"largest": largest, "middle": middle, "smallest": smallest}


def _adaptation(trainer: Trainer) -> dict[str, Any]:
    """Test top-1 of a few networks after the first phase and after all, percent."""
    archs = adapted_archs(trainer.recipe.space)
    after = _test_top1(trainer, archs)
    head_only = after
    if len(trainer.recipe.phases) > 1:
        supernet = Supernet(trainer.recipe.space)
        supernet.load_state_dict(load_file(trainer.folder / AFTER_FIRST))
        head_only = _test_top1(trainer, archs, channels_last(supernet).eval())
    phases = trainer.recipe.phases
    return {
        "archs": {name: arch.to_json() for name, arch in archs.items()},
        "head_only": head_only if phases[0].body_rate == 0 else None,
        "adapted": after if any(phase.body_rate > 0 for phase in phases) else None,
        "from_scratch": None,
        "images": len(trainer.dataset.test),
        "provenance": "measured",
    }


def _test_top1(
    trainer: Trainer, archs: Mapping[str, Arch], supernet: Supernet | None = None
) -> dict[str, float]:
    """Of subnets on the test images, percent, by name."""
    recipe, test = trainer.recipe, trainer.dataset.test
    calibration = ImageSet(_calibration(trainer).images, recipe.mean, recipe.std)
    images = ImageSet(test.images, recipe.mean, recipe.std)
    supernet = supernet or trainer.supernet.cpu().eval()
    return {
        name: round(measure_top1(supernet, arch, calibration, images, test.labels, 2), 2)
        for name, arch in archs.items()
    }


def _calibration(trainer: Trainer) -> LabelledImages:
    """Training images that batch norms are recalibrated with."""
    rng = np.random.default_rng([trainer.recipe.seed, 11])
    chosen = rng.permutation(len(trainer.data))[: calibration_count(len(trainer.data))]
    return trainer.data.take(np.sort(chosen))


def _data_card(trainer: Trainer) -> dict[str, Any]:
    recipe, data = trainer.recipe, trainer.dataset
    by_class = ", by_class=True" if recipe.holdout_by_class else ""
    return {
        "name": data.name,
        "source": data.source,
        "licence": data.licence,
        **trainer.stated_data,
        "held_out": f"hold_out(train, {recipe.holdout}, seed={recipe.seed}{by_class})",
        "calibration_images": calibration_count(len(trainer.data)),
        "validation_images": min(VALIDATION_IMAGES, len(trainer.validation)),
    }


def _licence(trainer: Trainer) -> str:
    licence = trainer.dataset.licence
    if not trainer.base:
        return licence
    return f"{licence}; its weights started from {trainer.base['name']}: {trainer.base['licence']}"


def _npz(data: LabelledImages) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=data.images[:], labels=data.labels)
    return buffer.getvalue()

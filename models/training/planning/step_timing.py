"""How long the parts of a training take on this machine: steps are timed, the rest follows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.data import LabelledImages, calibration_count, tested_count, to_tensor
from models.layers.modules import channels_last
from models.supernet import Supernet, initialize
from models.training.gradients import gradients_of
from models.training.optim import (
    archs_of_step,
    batch_at,
    freeze_body,
    make_optimizer,
    set_learning_rate,
)
from models.training.processes import training_device
from models.training.recipe import Phase, Recipe
from models.training.time_left import mean_work

STEPS, MOST_TIMED_S = 10, 5.0
"""Steps that are timed, after `UNTIMED`; fewer where they take long."""
UNTIMED = 2
"""Steps that prepare what their shapes need."""
START_S = 8.0
"""That `supernets train` takes to load its libraries and to write the supernet."""
VALIDATION_SHARE = 0.03
"""Of the training's time (`training_watch`)."""
FORWARD_SHARE = 0.33
"""Of a step of the largest network."""
RUNTIME_SHARE, CALIBRATION_SHARE = 0.35, 1.7
"""Time of an inference by the runtime that measures accuracies, and of a recalibration, as
shares of a forward pass in training."""
SUBNETS, FOUND, ON_TEST_IMAGES = 160, 48, 40 + 48
"""Subnets that are measured until the predictor is good enough, and networks that searches find, as
usual; how many of both are measured on the test images too (`service.catalog.supernets`)."""
SUBNET_S, FIT_S = 0.15, 15.0
"""Besides inferences: of a subnet, to build and load it; of all fits and searches."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of the parts of `supernets train`: estimated from timed steps."""

    decoding: float
    training: float
    """With validation."""
    predictor: float

    @property
    def all(self) -> float:
        """Of the whole command."""
        return START_S + self.decoding + self.training + self.predictor


def time_step(recipe: Recipe, phase: Phase, most_s: float = MOST_TIMED_S) -> float:
    """Mean seconds of a training step of a phase, measured here on made-up images."""
    space, device = recipe.space, training_device()
    supernet = Supernet(space)
    initialize(supernet, recipe.seed)
    channels_last(supernet).to(device).train()
    freeze_body(supernet, recipe, phase)
    gradients = gradients_of(supernet, recipe.label_smoothing, device)
    optimizer = make_optimizer(supernet, recipe, phase)
    set_learning_rate(optimizer, 1e-4)
    data = _noise(recipe)

    def step(number: int) -> None:
        rng = np.random.default_rng([recipe.seed, number])
        batch = batch_at(recipe, data, 0, 0, rng)

        def at(size: int) -> Tensor:
            return to_tensor(batch.images, size, recipe.mean, recipe.std).to(device)

        loss = gradients(
            archs_of_step(phase, space, rng),
            at,
            torch.from_numpy(batch.labels).to(device),
            distill=phase.distill,
            first_teaches=phase.teacher == "largest",
        )
        optimizer.step()
        float(loss)  # waits for a GPU

    began = time.monotonic()
    for number in range(UNTIMED):
        step(number)
    times: list[float] = []
    while len(times) < STEPS and (not times or time.monotonic() - began < most_s):
        start = time.monotonic()
        step(UNTIMED + len(times))
        times.append(time.monotonic() - start)
    return sum(times) / len(times)


def predictor_s(
    recipe: Recipe, phase: Phase, full_step_s: float, train_images: int, test_images: int
) -> float:
    """Seconds that measuring subnets and fitting the predictor take.

    Args:
        phase: the one that opens everything.
        full_step_s: of a step of the largest network.
    """
    one = replace(phase, always=(), subnets_per_step=1, teacher="full")
    work = mean_work(one, recipe.space, recipe.seed)
    image_s = full_step_s / recipe.batch_size * FORWARD_SHARE * work
    tested = tested_count(test_images, recipe.holdout)
    inferences = SUBNETS * recipe.holdout + ON_TEST_IMAGES * tested
    calibrations = (SUBNETS + FOUND) * calibration_count(train_images - recipe.holdout)
    measuring_s = image_s * (RUNTIME_SHARE * inferences + CALIBRATION_SHARE * calibrations)
    return FIT_S + SUBNETS * SUBNET_S + measuring_s


def _noise(recipe: Recipe) -> LabelledImages:
    """A batch of images."""
    space, rng = recipe.space, np.random.default_rng(0)
    size = space.resolutions[-1]
    shape = (recipe.batch_size, size, size, *((space.channels,) if space.channels > 1 else ()))
    images = rng.integers(0, 256, shape).astype(np.uint8)
    return LabelledImages(images, rng.integers(0, space.classes, recipe.batch_size))

"""Batches, learning rate and optimizer, for supernets and for single networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.data import LabelledImages, augment
from models.training.recipe import Phase, Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """Augmented images (B, H, W) uint8 of the training images `rows`, mirrored where `flip`."""

    rows: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def batch_at(
    recipe: Recipe, data: LabelledImages, phase: int, step: int, rng: np.random.Generator
) -> Batch:
    """The batch of one step, a function of (seed, phase, step), so that any step can be repeated.

    Args:
        rng: generator of this step, for the augmentation.
    """
    epoch, at = divmod(step, len(data) // recipe.batch_size)
    order = np.random.default_rng([recipe.seed, phase, epoch, 1]).permutation(len(data))
    rows = order[at * recipe.batch_size : (at + 1) * recipe.batch_size]
    flip = rng.random(recipe.batch_size) < 0.5
    images = augment(data.images[rows], flip, recipe.shift, rng)
    return Batch(rows, flip, images, data.labels[rows])


def draw_antialias(rng: np.random.Generator) -> bool:
    """Whether this step resizes with antialiasing. Deployed pipelines may or may not, so subnets
    are trained with both."""
    return bool(rng.random() < 0.75)


def learning_rate(phase: Phase, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = phase.warmup_epochs * steps_per_epoch
    if step < warmup:
        return phase.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / (phase.epochs * steps_per_epoch - warmup)
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, recipe: Recipe, phase: Phase) -> torch.optim.SGD:
    """SGD with Nesterov momentum; norms, biases and kernel transformations do not decay."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        decays = weight.ndim > 1 and not name.endswith("_matrix")
        (decayed if decays else free).append(weight)
    decay = recipe.weight_decay if phase.weight_decay is None else phase.weight_decay
    groups = [
        {"params": decayed, "weight_decay": decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.1, momentum=recipe.momentum, nesterov=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The same rate for every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate

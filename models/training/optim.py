"""Batches, subnets and learning rate of a step, and the optimizer; for single networks too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.data import LabelledImages, augment, mix, transform
from models.spaces import Arch, SearchSpace, layer_plan
from models.training.recipe import Phase, Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """Augmented images (B, H, W) uint8 of the training images `rows`, mirrored where `flip`."""

    rows: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    """(B,), or of mixed images (B, classes): the share of each class."""


def batch_at(
    recipe: Recipe, data: LabelledImages, phase: int, step: int, rng: np.random.Generator
) -> Batch:
    """The batch of one step, a function of (seed, phase, step), so that any step can be repeated.

    Args:
        rng: generator of this step, for the augmentation.
    """
    epoch, at = divmod(step, len(data) // recipe.batch_size)
    order = _order(recipe.seed, phase, epoch, len(data))
    rows = order[at * recipe.batch_size : (at + 1) * recipe.batch_size].copy()
    how = recipe.augmentation
    flip = (rng.random(recipe.batch_size) < 0.5) & how.flip
    images = transform(augment(data.images[rows], flip, recipe.shift, rng), how, rng)
    images, labels = mix(images, data.labels[rows], recipe.space.classes, how, rng)
    return Batch(rows, flip, images, labels)


@lru_cache(maxsize=1)
def _order(seed: int, phase: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The images of an epoch, shuffled; kept, since a step takes few of a million."""
    order = np.random.default_rng([seed, phase, epoch, 1]).permutation(count)
    order.flags.writeable = False
    return order


def archs_of_step(phase: Phase, whole: SearchSpace, rng: np.random.Generator) -> list[Arch]:
    """The subnets whose gradients one step sums; the largest, if it is among them, comes first."""
    part = phase.space(whole)
    sampled = part.decode(part.sample(phase.subnets_per_step, rng))
    largest = [whole.largest] if "largest" in phase.always else []
    smallest = [part.smallest] if "smallest" in phase.always else []
    if "smallest-drawn" in phase.always:
        low, *others = part.resolutions
        drawn = int(rng.choice(others)) if others and rng.random() < 0.5 else low
        smallest.append(part.at([drawn]).smallest)
    return [*largest, *sampled, *smallest]


def draw_antialias(rng: np.random.Generator) -> bool:
    """Whether this step resizes with antialiasing. Deployed pipelines may or may not, so subnets
    are trained with both."""
    return bool(rng.random() < 0.75)


def learning_rate(phase: Phase, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = phase.warmup_epochs * steps_per_epoch
    if step < warmup:
        return phase.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / (phase.steps(steps_per_epoch) - warmup)
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, recipe: Recipe, phase: Phase) -> torch.optim.SGD:
    """SGD, with Nesterov's momentum if with any. Norms, biases and kernel transformations do not
    decay."""
    decay = recipe.weight_decay if phase.weight_decay is None else phase.weight_decay
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    head = head_prefix(recipe.space)
    for name, weight in model.named_parameters():
        share = 1.0 if name.startswith(head) else phase.body_rate
        decays = weight.ndim > 1 and not name.endswith("_matrix")
        if share:
            groups.setdefault((share, decay if decays else 0.0), []).append(weight)
    return torch.optim.SGD(
        [
            {"params": weights, "weight_decay": each_decay, "rate_share": share}
            for (share, each_decay), weights in sorted(groups.items(), reverse=True)
        ],
        lr=0.1,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
    )


def freeze_body(model: nn.Module, recipe: Recipe, phase: Phase) -> None:
    """Have gradients computed for what a phase trains alone."""
    head = head_prefix(recipe.space)
    for name, weight in model.named_parameters():
        weight.requires_grad_(phase.body_rate > 0 or name.startswith(head))


def head_prefix(space: SearchSpace) -> str:
    """What the names of the classifier's weights start with, in a supernet."""
    return f"layers.{layer_plan(space, space.largest)[-1].name}."


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of a step; the first group has all of it, others perhaps a share."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_share", 1.0)

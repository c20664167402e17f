"""What may be had of a supernet while it is still trained: a few of its subnets, measured now."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from models.data import check_unchanged, load_dataset
from models.errors import NotFound
from models.layers.modules import channels_last
from models.spaces import Arch, SearchSpace, layer_plan
from models.supernet import Supernet
from models.training.recipe import Recipe, parse_recipe
from models.training.training_log import CHECKPOINT, TrainingPoint, read_points
from models.training.validation import Validation

DRAWS = 300
"""Subnets among which those of the wanted sizes are looked for."""
MIN_POINTS = 5
"""Of the curve, from which its end is estimated."""
LATE = 0.25
"""Points before this share of the steps so far say little of the end."""


@dataclass(frozen=True, slots=True)
class PreviewedSubnet:
    """One subnet."""

    arch: Arch
    macs: int
    top1: float
    """Measured now, percent."""
    standard_error: float
    """Of that, as a sample of all images, percentage points."""
    top1_at_end: float | None
    """Estimated, percent; None: the curve is too short to tell."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Of one training, at its last checkpoint."""

    phase: str
    step: int
    steps: int
    images: int
    """Held out of training."""
    is_whole: bool
    """Whether this phase trains the whole space; otherwise the subnets are of the part that it
    does."""
    subnets: Sequence[PreviewedSubnet]
    """By ascending MACs."""


def preview_training(
    folder: Path,
    count: int,
    images: Path | None = None,
    on_share: Callable[[float, str], None] = lambda share, doing: None,
) -> Preview:
    """Measure subnets of the checkpoint in `folder`, which may be of a running training.

    Args:
        count: subnets, spread evenly over the logarithm of their MACs.
        images: where decoded images are kept (`load_dataset`).

    Raises:
        NotFound: if there is no checkpoint yet, or the images are not on this machine.
    """
    recipe, position, supernet = read_checkpoint(folder / CHECKPOINT)
    last = len(recipe.phases) - 1
    phase = recipe.phases[min(position["phase"], last)]

    def on_decoded(share: float, doing: str) -> None:
        on_share(0.0, f"decoding {doing}")

    on_share(0.0, "reading the images")
    dataset = load_dataset(recipe.dataset, recipe.space, images, on_decoded)
    check_unchanged(dataset, position.get("data", {}), f"the training in {folder}")
    data, held_out = recipe.hold_out(dataset.train)
    per_epoch = len(data) // recipe.batch_size
    before = sum(p.steps(per_epoch) for p in recipe.phases[: position["phase"]])
    step = before + position["step"]
    steps = sum(p.steps(per_epoch) for p in recipe.phases)
    part = phase.space(recipe.space)
    chosen = spread_archs(part, count, recipe.seed)
    validation, found = Validation(recipe, data, held_out), []
    factor = error_factor(read_points(folder), step, steps)
    for done, (arch, macs) in enumerate(chosen):
        on_share((done + 1) / (len(chosen) + 1), f"{done}/{len(chosen)} subnets measured")
        top1 = validation.top1(supernet, {"": arch})[""]
        at_end = None if factor is None else 100 - factor * (100 - top1)
        found.append(PreviewedSubnet(arch, macs, top1, validation.standard_error(top1), at_end))
    is_whole = part.cardinality == recipe.space.cardinality
    return Preview(phase.name, step, steps, validation.images, is_whole, found)


def read_checkpoint(path: Path) -> tuple[Recipe, Mapping[str, Any], Supernet]:
    """What a training has kept: its recipe, its position ("phase", "step"), its supernet.

    Raises:
        NotFound: if there is none.
    """
    with safe_open(_existing(path), "pt") as file:
        position = json.loads(file.metadata()["position"])
        names = [name for name in file.keys() if name.startswith("model.")]
        weights = {name.removeprefix("model."): file.get_tensor(name) for name in names}
    recipe = parse_recipe(position["recipe"])
    supernet = Supernet(recipe.space)
    supernet.load_state_dict(weights)
    return recipe, position, channels_last(supernet).eval()


def checkpointed_recipe(folder: Path) -> Recipe:
    """The recipe of the training in `folder`.

    Raises:
        NotFound: if there is no checkpoint.
    """
    with safe_open(_existing(folder / CHECKPOINT), "pt") as file:
        return parse_recipe(json.loads(file.metadata()["position"])["recipe"])


def has_checkpoint(folder: Path) -> bool:
    """Whether the training in `folder` can go on from one."""
    return (folder / CHECKPOINT).exists()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise NotFound(
            f"there is no checkpoint in {path.parent} yet: a training writes its first one within "
            "a minute of its first step"
        )
    return path


def spread_archs(space: SearchSpace, count: int, seed: int) -> list[tuple[Arch, int]]:
    """Different subnets and their MACs, ascending: the smallest, the largest, and drawn ones
    between them."""
    drawn = space.decode(space.sample(DRAWS, np.random.default_rng([seed, 23])))
    archs = dict.fromkeys([space.smallest, space.largest, *drawn])
    macs = {arch: sum(layer.macs for layer in layer_plan(space, arch)) for arch in archs}
    ends = math.log(macs[space.smallest]), math.log(macs[space.largest])
    chosen = {}
    for wanted in np.linspace(*ends, count):
        nearest = min(macs, key=lambda arch: abs(math.log(macs[arch]) - wanted))
        chosen[nearest] = macs[nearest]
    return sorted(chosen.items(), key=lambda item: item[1])


def error_factor(points: Sequence[TrainingPoint], step: int, steps: int) -> float | None:
    """What the error of the largest subnet at `step` is multiplied with to give that at the end, if
    it goes on to fall by the power of the step that it has fallen by lately.

    None: there are too few points to tell, or it does not fall.
    """
    late = [p for p in points if LATE * step <= p.step <= step and p.top1.get("largest", 100) < 100]
    if len(late) < MIN_POINTS:
        return None
    x = np.log([p.step for p in late])
    y = np.log([100 - p.top1["largest"] for p in late])
    slope = float(np.polyfit(x, y, 1)[0])
    return (steps / step) ** slope if slope < 0 else None

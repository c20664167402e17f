"""What sharing weights costs: subnets against the same networks trained from scratch.

A network is trained from scratch by the recipe's first phase: its epochs, learning rate, images and
augmentation. That phase trains the largest network alone, so the result is reused for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from models.bundle import Bundle, training_images
from models.data import LabelledImages, to_tensor
from models.layers import LayerSpec
from models.layers.modules import channels_last
from models.machine import EnergyMeter, added, write_atomically
from models.onnx import CALIBRATION_BATCH, ImageSet, measure_top1, onnx_top1, subnet_onnx
from models.spaces import Arch, SearchSpace, layer_plan
from models.supernet import Subnet, Supernet, initialize, plain, recalibrate
from models.training.optim import (
    batch_at,
    draw_antialias,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from models.training.recipe import Recipe

OnStep = Callable[[int, int, int], None]
"""(network, step, steps)"""


def reference_archs(space: SearchSpace) -> list[Arch]:
    """Five architectures over the space: both corners, two between them, one drawn at random."""
    sizes = len(space.resolutions)
    medium = {"resolution": sizes - 2 if sizes > 2 else sizes - 1}
    shallow = {"depth": 0, "expand": 0}
    rows = [
        [min(medium.get(gene.name, 1), len(gene.choices) - 1) for gene in space.genes],
        [shallow.get(gene.name, len(gene.choices) - 1) for gene in space.genes],
    ]
    middle = space.decode(space.canonical(np.array(rows, np.uint8)))
    drawn = space.decode(space.sample(1, np.random.default_rng(2024)))
    return [space.largest, *middle, *drawn, space.smallest]


def train_from_scratch(
    recipe: Recipe,
    plan: Sequence[LayerSpec],
    data: LabelledImages,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> Subnet:
    """Train the network of `plan`, of a subnet or any other, by the recipe's first phase."""
    phase = recipe.phases[0]
    subnet = plain(plan, recipe.space.bn_eps)
    initialize(subnet, recipe.seed)
    channels_last(subnet)
    optimizer = make_optimizer(subnet, recipe, phase)
    per_epoch = len(data) // recipe.batch_size
    steps = phase.steps(per_epoch)
    for step in range(steps):
        rng = np.random.default_rng([recipe.seed, 0, step])
        batch = batch_at(recipe, data, 0, step, rng)
        set_learning_rate(optimizer, learning_rate(phase, step, per_epoch))
        size, antialias = plan[0].in_size, draw_antialias(rng)
        x_BCHW = to_tensor(batch.images, size, recipe.mean, recipe.std, antialias)
        labels = torch.from_numpy(batch.labels)
        subnet.train()
        optimizer.zero_grad(set_to_none=True)
        smoothing = recipe.label_smoothing
        loss = F.cross_entropy(subnet(x_BCHW), labels, label_smoothing=smoothing)
        torch.autograd.backward(loss)
        optimizer.step()
        on_step(step + 1, steps)
    return subnet.eval()


def compare(
    bundle: Bundle,
    recipe: Recipe,
    folder: Path,
    archs: Sequence[Arch],
    *,
    threads: int,
    full_weights: Path | None = None,
    images: Path | None = None,
    on_step: OnStep = lambda index, step, steps: None,
) -> list[dict[str, Any]]:
    """Test top-1 of each architecture trained from scratch and as a subnet, percent.

    The result of each network is stored in `folder` and reused by a later call.

    Args:
        full_weights: the supernet's state after the recipe's first phase, if it was stored.
        images: where decoded images are kept (`load_dataset`).

    Returns:
        {"arch", "alone_top1", "shared_top1", "gap", "energy"} for each; gap is alone minus
        shared, points; energy is that of training from scratch, None from `full_weights`.
    """
    dataset = training_images(bundle, images)
    test = dataset.test
    data, _ = recipe.hold_out(dataset.train)
    calibration = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
    test_set = ImageSet(test.images, bundle.mean, bundle.std)
    supernet = bundle.load_supernet()
    folder.mkdir(parents=True, exist_ok=True)

    def from_scratch(arch: Arch, on_step: Callable[[int, int], None]) -> dict[str, Any]:
        if arch == recipe.space.largest and full_weights is not None:
            full = Supernet(recipe.space)
            full.load_state_dict(load_file(full_weights))
            top1 = measure_top1(full.eval(), arch, calibration, test_set, test.labels, threads)
            return {"arch": arch.to_json(), "top1": top1, "energy": None}
        with EnergyMeter(recipe.country) as meter:
            subnet = train_from_scratch(recipe, layer_plan(recipe.space, arch), data, on_step)
            spent = added(None, meter)
        recalibrate(subnet, calibration.batches(arch.resolution, CALIBRATION_BATCH))
        model = subnet_onnx(supernet, arch, subnet, {})
        top1 = onnx_top1(model, arch, test_set, test.labels, threads)
        return {"arch": arch.to_json(), "top1": top1, "energy": spent}

    rows = []
    for index, arch in enumerate(archs):
        stored = folder / f"alone-{index}.json"
        if not stored.exists():
            record = from_scratch(arch, partial(on_step, index))
            write_atomically(stored, json.dumps(record).encode())
        shared = measure_top1(supernet, arch, calibration, test_set, test.labels, threads)
        rows.append(_comparison(json.loads(stored.read_text()), shared))
    return rows


def _comparison(from_scratch: Mapping[str, Any], shared_top1: float) -> dict[str, Any]:
    return {
        "arch": from_scratch["arch"],
        "alone_top1": round(from_scratch["top1"], 2),
        "shared_top1": round(shared_top1, 2),
        "gap": round(from_scratch["top1"] - shared_top1, 2),
        "energy": from_scratch["energy"],
    }

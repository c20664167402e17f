"""What is compared: published families trained alone, and subnets found for this machine.

Everything is kept in one folder, a network at a time, so that a run cut short goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from latency_tables.table.table import LatencyTable
from models.bundle.bundle import Bundle
from models.bundle.card import PREDICTOR
from models.data.datasets import Dataset
from models.data.images import LabelledImages, hold_out
from models.layers import LayerSpec
from models.machine.energy import EnergyMeter
from models.machine.files import write_atomically
from models.onnx.builder import build_onnx
from models.onnx.export import CALIBRATION_BATCH, ImageSet, calibrated_subnet, run_onnx, subnet_onnx
from models.spaces.plan import layer_plan
from models.supernet.extraction import Subnet, recalibrate
from models.training.from_scratch import train_from_scratch
from models.training.recipe import Recipe
from search.costs.costs import latency_costs
from search.front import front
from search.predictors.files import load_predictor as load_predictor
from tests.benchmarks.headline.compare import Floats
from tests.benchmarks.headline.families import SMALL_IMAGE_STRIDES, family_plan

GRID: tuple[tuple[str, float, int], ...] = (
    ("mobilenet-v3-small", 0.5, 20),
    ("mobilenet-v3-large", 0.25, 20),
    ("efficientnet-b0", 0.25, 20),
    ("mobilenet-v3-small", 1.0, 28),
    ("mobilenet-v3-large", 0.5, 28),
    ("efficientnet-b0", 0.5, 28),
    ("mobilenet-v3-small", 0.5, 28),
    ("mobilenet-v3-large", 0.35, 28),
    ("efficientnet-b0", 0.35, 28),
    ("mobilenet-v3-small", 0.35, 20),
    ("mobilenet-v3-large", 0.35, 20),
    ("efficientnet-b0", 0.35, 20),
    ("mobilenet-v3-small", 0.75, 28),
    ("mobilenet-v3-large", 0.75, 28),
    ("efficientnet-b0", 0.75, 28),
)
"""Family, width multiplier and input size of each network trained alone, in the order in which
they are: both ends of each family first, so that a run cut short compares what it can."""
LONG = (("mobilenet-v3-small", 0.5, 28),)
"""Trained once more, for as many epochs as the whole supernet: what time alone would do."""
MOBILENET = ("mobilenet-v3-small", "mobilenet-v3-large")
TEST_IMAGES = 10_000
SUBNETS = 8
"""Points of the front that are made and measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One file to be timed, and how it came to be."""

    name: str
    group: str
    """"subnet", a family, or "family, N epochs" if trained for longer than the others."""
    macs: int
    params: int
    top1: tuple[float, ...]
    """On the test images, percent, one a seed; measured."""
    energy_kwh: float
    """Of its training, all seeds; 0 for a subnet, which needs none."""
    model: Path


@dataclass(frozen=True, slots=True)
class Ground:
    """What all networks share: images, recipe and the folder that keeps them."""

    bundle: Bundle
    recipe: Recipe
    data: Dataset
    folder: Path

    @property
    def calibration(self) -> ImageSet:
        """Training images for batch norms."""
        return ImageSet(self.bundle.calibration(), self.bundle.mean, self.bundle.std)

    @property
    def train(self) -> LabelledImages:
        """The images that the supernet was trained on, no others."""
        return hold_out(self.data.train, self.recipe.holdout, self.recipe.seed)[0]

    def top1(self, model: bytes, resolution: int) -> float:
        """Of a file on the test images, percent."""
        images = ImageSet(self.data.test.images, self.bundle.mean, self.bundle.std)
        logits = run_onnx(model, images.at(resolution), torch.get_num_threads())
        return 100.0 * float((logits.argmax(1) == self.data.test.labels).mean())


def trained_alone(
    ground: Ground,
    epochs: int,
    seeds: Sequence[int],
    until: float,
    bar: Progress,
    *,
    grid: Sequence[tuple[str, float, int]] = GRID,
    group: str = "{family}",
) -> Iterator[Network]:
    """The families' networks of `grid`, trained where they are not kept yet and time is left.

    Args:
        epochs: of every network, in place of the recipe's first phase's.
        until: `time.monotonic()` after which no further training starts.
        group: of each network; `{family}` stands for its family.
    """
    space = ground.recipe.space
    for family, width, resolution in grid:
        plan = family_plan(
            family,
            width,
            resolution,
            channels=space.channels,
            classes=space.classes,
            strides=SMALL_IMAGE_STRIDES[family],
        )
        name = f"{family}-w{width:g}-r{resolution}"
        rows = []
        for seed in seeds:
            kept = ground.folder / f"{name}-e{epochs}-s{seed}.json"
            if not kept.exists() and time.monotonic() < until:
                _train_one(ground, plan, kept, epochs, seed, bar)
            if kept.exists():
                rows.append((json.loads(kept.read_text()), kept.with_suffix(".onnx")))
        if rows:
            yield Network(
                name=name,
                group=group.format(
                    family="mobilenet-v3" if family in MOBILENET else "efficientnet"
                ),
                macs=sum(layer.macs for layer in plan),
                params=sum(layer.params for layer in plan),
                top1=tuple(row["top1"] for row, _ in rows),
                energy_kwh=sum(row["energy"]["energy_kwh"] for row, _ in rows),
                model=rows[0][1],
            )


def _train_one(
    ground: Ground, plan: Sequence[LayerSpec], kept: Path, epochs: int, seed: int, bar: Progress
) -> None:
    """Train, recalibrate, export and measure one network; its record is written last."""
    phase = replace(ground.recipe.phases[0], epochs=epochs)
    recipe = replace(ground.recipe, seed=seed, phases=(phase,))
    task = bar.add_task(kept.stem, total=1.0)
    with EnergyMeter(recipe.country) as meter:
        subnet = train_from_scratch(
            recipe, plan, ground.train, lambda at, of: bar.update(task, completed=at / of)
        )
        energy = {**meter.read(), **meter.conditions}
    bar.remove_task(task)
    resolution = plan[0].in_size
    recalibrate(subnet, ground.calibration.batches(resolution, CALIBRATION_BATCH))
    model = _to_onnx(plan, subnet, ground.recipe.space.bn_eps)
    record = {"top1": ground.top1(model, resolution), "epochs": epochs, "energy": energy}
    write_atomically(kept.with_suffix(".onnx"), model)
    write_atomically(kept, json.dumps(record).encode())


def _to_onnx(plan: Sequence[LayerSpec], subnet: Subnet, bn_eps: float) -> bytes:
    tensors = {name: tensor.detach().numpy() for name, tensor in subnet.state_dict().items()}
    return build_onnx(plan, tensors, {}, bn_eps=bn_eps)


def searched(ground: Ground, table: LatencyTable) -> Iterator[Network]:
    """Subnets of the front on this machine, evenly spread over its predicted accuracy."""
    bundle = ground.bundle
    space = bundle.space
    predictor = load_predictor(bundle.path / PREDICTOR, space)
    found = front(space, predictor, latency_costs(space, table), seed=0)
    wanted = np.linspace(found.top1[0], found.top1[-1], SUBNETS)
    picked = sorted({int(np.searchsorted(found.top1, value - 1e-9)) for value in wanted})
    supernet = bundle.load_supernet()
    for index, arch in zip(picked, space.decode(found.genes[picked]), strict=True):
        subnet = calibrated_subnet(supernet, arch, ground.calibration)
        model = subnet_onnx(supernet, arch, subnet, {})
        plan = layer_plan(space, arch)
        path = ground.folder / f"subnet-{bundle.sha256[:8]}-{index}.onnx"
        write_atomically(path, model)
        yield Network(
            name=f"subnet-{sum(layer.macs for layer in plan) / 1e6:.1f}M-r{arch.resolution}",
            group="subnet",
            macs=sum(layer.macs for layer in plan),
            params=sum(layer.params for layer in plan),
            top1=(ground.top1(model, arch.resolution),),
            energy_kwh=0.0,
            model=path,
        )


def mean_sd(networks: Sequence[Network]) -> Floats:
    """How much each network's mean accuracy varies, points, (N,).

    As networks with several seeds vary, all of them pooled; without any as test images let them.
    """
    seeds = np.array([len(network.top1) for network in networks])
    if (seeds > 1).any():
        squares = sum(float(np.var(n.top1)) * len(n.top1) for n in networks)
        variance = squares / float((seeds - 1).sum())
    else:
        share = float(np.mean([np.mean(network.top1) for network in networks])) / 100
        variance = share * (1 - share) / TEST_IMAGES * 100**2
    return np.sqrt(variance / seeds)


def to_json(network: Network) -> dict[str, Any]:
    """A network without its file."""
    values = asdict(network)
    del values["model"]
    top1 = np.array(network.top1)
    spread = float(top1.std(ddof=1)) if len(top1) > 1 else math.nan
    return {
        **values,
        "top1_mean": float(top1.mean()),
        "top1_sd": None if math.isnan(spread) else spread,
    }

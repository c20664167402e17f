"""What augmentation adds to a training step: at most a tenth of it is wanted.

    python -m tests.benchmarks.bench_augmentation [--steps 20] [--threads 2]

Steps of the shipped recipe's last phase on Fashion-MNIST (grey, 28 pixels), and of its space in
colour on made-up images of 32 pixels; batches with everything on, with as many of today's. Exits 1
if a step takes longer by more than the bar.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from models.data.augmentation import Augmentation
from models.data.datasets import Dataset
from models.data.images import LabelledImages
from models.training.optim import batch_at
from models.training.recipe import Recipe, load_recipe
from models.training.trainer import Trainer

BAR = 0.1
EVERYTHING = Augmentation(crop_area=0.35, policy="trivial", mixup=0.2, cutmix=1.0)


def recipes() -> dict[str, Recipe]:
    """By what they train on."""
    grey = load_recipe("fashion-mbv3")
    resolutions = (16, 20, 24, 32)
    space = replace(grey.space, channels=3, resolutions=resolutions)
    phases = tuple(replace(p, resolutions=p.resolutions and resolutions) for p in grey.phases)
    colour = replace(grey, space=space, phases=phases, mean=(0.5,) * 3, std=(0.3,) * 3, holdout=100)
    return {"grey, 28 pixels": grey, "colour, 32 pixels": colour}


def images(recipe: Recipe) -> Dataset:
    """Made up, of the space's shape."""
    size, channels = recipe.space.resolutions[-1], recipe.space.channels
    rng = np.random.default_rng(0)
    shape = (recipe.holdout + 4096, size, size)
    pixels = rng.integers(0, 256, shape if channels == 1 else (*shape, channels)).astype(np.uint8)
    data = LabelledImages(pixels, rng.integers(0, recipe.space.classes, len(pixels)))
    return Dataset(data, data, "made up", "", "", ("",) * recipe.space.classes, "")


def measure(recipe: Recipe, steps: int) -> tuple[float, float, float]:
    """Median times, s: of a step, of its batch as today, and of one with everything on."""
    made = images(recipe)
    with mock.patch("models.training.trainer.load_dataset", return_value=made):
        trainer = Trainer(recipe, Path(tempfile.mkdtemp()), resume=False)
    trainer.phase = len(recipe.phases) - 1
    phase, times = recipe.phases[-1], np.empty((3, steps))
    augmented = replace(recipe, augmentation=EVERYTHING)
    for step in range(steps):
        trainer.step = step
        started = time.perf_counter()
        trainer._train_step(phase)
        times[0, step] = time.perf_counter() - started
        for row, given in ((1, recipe), (2, augmented)):
            rng = np.random.default_rng([recipe.seed, trainer.phase, step])
            started = time.perf_counter()
            batch_at(given, trainer.data, trainer.phase, step, rng)
            times[row, step] = time.perf_counter() - started
    whole, plain, all_on = np.median(times, axis=1).tolist()
    return whole, plain, all_on


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    met = True
    for name, recipe in recipes().items():
        whole, plain, all_on = measure(recipe, given.steps)
        more = (all_on - plain) / whole
        met = met and more <= BAR
        print(
            f"{name}: a step {1e3 * whole:.0f} ms, its batch {1e3 * plain:.1f} ms, with everything "
            f"on {1e3 * all_on:.1f} ms: {more:.1%} more, bar {BAR:.0%}",
            flush=True,
        )
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()

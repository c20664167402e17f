"""One training step of the shipped recipe against a straightforward one of the published loop.

    python -m tests.benchmarks.bench_training [--steps 6] [--threads 2]

The twin does what the published loop does, with torch's own operations: images in torch's default
layout, torch's depthwise convolution, and a forward pass of the teacher of its own for each step's
soft labels. Both start from the same weights and see the same batches; losses must agree.
Wanted: 1.5 times as fast. Prints, asserts nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import models.layers.modules.elastic
from models.layers import LayerSpec
from models.supernet.supernet import Supernet, initialize
from models.training.optim import (
    archs_of_step,
    batch_at,
    draw_antialias,
    make_optimizer,
    set_learning_rate,
)
from models.training.recipe import load_recipe
from models.training.trainer import Trainer

PHASE = 5
"""The recipe's last: every choice open, largest and smallest in every step."""
RATE = 0.01


def report(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    ours, twin = _trainer(Supernet), _trainer(DefaultLayout)
    times, losses = np.empty((2, steps)), np.empty((2, steps))
    for step in range(steps):
        times[0, step], losses[0, step] = _timed(ours, _our_step)
        with _torch_depthwise():
            times[1, step], losses[1, step] = _timed(twin, _published_step)
        ours.step += 1
        twin.step += 1
    seconds = np.median(times[:, 1:], axis=1)
    ratio = np.median(times[1, 1:] / times[0, 1:])
    print(f"\ntorch {torch.__version__}, {threads} thread(s), batch {ours.recipe.batch_size}")
    print(f"a step of the recipe {seconds[0]:.2f} s, of the published loop {seconds[1]:.2f} s")
    print(f"ratio {ratio:.2f} (median of {steps - 1} pairs)")
    print(f"losses differ by at most {np.abs(losses[0] - losses[1]).max():.1e} over {steps} steps")


class DefaultLayout(Supernet):
    """The same network in torch's default memory layout throughout."""

    def apply_layer(self, x_BCHW: Tensor, spec: LayerSpec) -> Tensor:
        return super().apply_layer(x_BCHW, spec).contiguous()


def _trainer(kind: type[Supernet]) -> Trainer:
    recipe = load_recipe("fashion-mbv3")
    trainer = Trainer(recipe, Path(tempfile.mkdtemp()), resume=False)
    if kind is not Supernet:
        trainer.supernet = kind(recipe.space)
        initialize(trainer.supernet, recipe.seed)
    trainer.phase = PHASE
    trainer.optimizer = make_optimizer(trainer.supernet, recipe, recipe.phases[PHASE])
    set_learning_rate(trainer.optimizer, RATE)
    return trainer


def _our_step(trainer: Trainer) -> float:
    return trainer._train_step(trainer.recipe.phases[PHASE])


def _published_step(trainer: Trainer) -> float:
    recipe, phase = trainer.recipe, trainer.recipe.phases[PHASE]
    rng = np.random.default_rng([recipe.seed, trainer.phase, trainer.step])
    batch = batch_at(recipe, trainer.data, trainer.phase, trainer.step, rng)
    archs = archs_of_step(phase, trainer.recipe.space, rng)
    antialias = draw_antialias(rng)
    labels = torch.from_numpy(batch.labels)
    trainer.supernet.train()
    trainer.optimizer.zero_grad()
    total = 0.0
    for index, arch in enumerate(archs):
        x_BCHW = _resized(batch.images, arch.resolution, recipe.mean, recipe.std, antialias)
        logits = trainer.supernet(x_BCHW, arch)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        if index:  # the teacher is the largest, which comes first and learns from labels alone
            with torch.no_grad():
                whole = recipe.space.largest
                images = _resized(
                    batch.images, whole.resolution, recipe.mean, recipe.std, antialias
                )
                soft = F.softmax(trainer.supernet(images, whole), dim=1)
            loss = loss + phase.distill * F.cross_entropy(logits, soft)
        torch.autograd.backward(loss)
        total += float(loss.detach())
    trainer.optimizer.step()
    return total / len(archs)


def _resized(
    images: np.ndarray,
    resolution: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    antialias: bool,
) -> Tensor:
    x_BCHW = torch.from_numpy(images)[:, None].float() / 255
    if resolution != x_BCHW.shape[-1]:
        size = (resolution, resolution)
        x_BCHW = F.interpolate(x_BCHW, size=size, mode="bilinear", antialias=antialias)
    return (x_BCHW - mean[0]) / std[0]


@contextmanager
def _torch_depthwise() -> Iterator[None]:
    """torch's own depthwise convolution in place of the project's."""

    def stock(x: Tensor, weight: Tensor, stride: int) -> Tensor:
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    with mock.patch.object(models.layers.modules.elastic, "depthwise_conv", stock):
        yield


def _timed(trainer: Trainer, step: Callable[[Trainer], float]) -> tuple[float, float]:
    start = time.perf_counter()
    loss = step(trainer)
    return time.perf_counter() - start, loss


def test_training_step() -> None:
    """For `make bench`."""
    report(steps=6, threads=2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    report(arguments.steps, arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Steps of the shipped recipe's last phase: on two CPU cores, on a GPU with each subnet's own
shapes, and on a GPU with masks and recorded launches.

    python -m tests.benchmarks.bench_gpu_training [--seconds 60] [--batch 128] [--bf16]

Wanted with a GPU: after the first minute at least 10 times as fast as two CPU cores, and at least 5
times including it. Without one, only the CPU's two ways are timed, and the masks are expected to be
the slower one. Images and labels are random: they do not change the time. Exits with 1 where a bar
is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from models.layers.modules import channels_last
from models.supernet import Supernet, initialize
from models.training.gradients import Gradients, MaskedShapes, OwnShapes
from models.training.optim import archs_of_step, make_optimizer, set_learning_rate
from models.training.recipe import load_recipe

CPU_STEPS = 10
AFTER, INCLUDING = 10.0, 5.0


def stepper(
    recipe_name: str, batch: int, device: str, way: str, bf16: bool
) -> tuple[Callable[[], None], Gradients]:
    """A function that trains one step, and what computes its gradients."""
    recipe = load_recipe(recipe_name)
    phase, space = recipe.phases[-1], recipe.space
    supernet = Supernet(space)
    initialize(supernet, recipe.seed)
    channels_last(supernet).to(device).train()
    optimizer = make_optimizer(supernet, recipe, phase)
    set_learning_rate(optimizer, 1e-3)
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, space.classes, batch)).to(device)
    gradients: Gradients = (
        MaskedShapes(supernet, recipe.label_smoothing, record=device == "cuda", bf16=bf16)
        if way == "masks"
        else OwnShapes(supernet, recipe.label_smoothing)
    )

    @cache
    def images(resolution: int) -> Tensor:
        shape = (batch, space.channels, resolution, resolution)
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(device)

    def step() -> None:
        archs = archs_of_step(phase, space, rng)
        gradients(archs, images, labels, distill=phase.distill, first_teaches=True)
        optimizer.step()

    return step, gradients


def timed(step: Callable[[], None], steps: int) -> float:
    """Seconds of so many steps, until the device has finished them."""
    start = time.monotonic()
    for _ in range(steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - start


def main() -> int:
    """Time the ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each way on the GPU")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--recipe", default="fashion-mbv3")
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(2)
    cpu: dict[str, float] = {}
    for way in ("own shapes", "masks"):
        step, _ = stepper(given.recipe, given.batch, "cpu", way, False)
        timed(step, 2)
        cpu[way] = timed(step, CPU_STEPS) / CPU_STEPS
        print(f"two CPU cores, {way}: {1e3 * cpu[way]:.0f} ms a step", flush=True)
    if not torch.cuda.is_available():
        print("there is no GPU here: its bars were not tried")
        return 0
    print(torch.cuda.get_device_name(), flush=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    missed = []
    for way in ("own shapes", "masks"):
        step, gradients = stepper(given.recipe, given.batch, "cuda", way, given.bf16)
        start, steps = time.monotonic(), 0
        while time.monotonic() - start < given.seconds:
            took = timed(step, 10)
            steps += 10
            if steps in (10, 20, 50, 100) or steps % 1000 == 0:
                print(f"GPU, {way}: steps to {steps}: {100 * took:.1f} ms each", flush=True)
        first = (time.monotonic() - start) / steps
        later = timed(step, 50) / 50
        ratios = cpu["own shapes"] / later, cpu["own shapes"] / first
        print(
            f"GPU, {way}: {1e3 * first:.1f} ms a step over the first {given.seconds:.0f} s, "
            f"{1e3 * later:.1f} ms after; {ratios[1]:.1f} and {ratios[0]:.1f} times as fast as two "
            "CPU cores"
        )
        if isinstance(gradients, MaskedShapes):
            made = len(gradients._recordings)
            print(f"{made} recordings: resolutions, with and without soft labels")
        if way == "masks" and (ratios[0] < AFTER or ratios[1] < INCLUDING):
            missed.append(way)
    for way in missed:
        print(f"MISSED: {way}: wanted {INCLUDING:g} and {AFTER:g} times as fast as two CPU cores")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Training steps a second under torchrun: several processes against one, a core each.

    python -m tests.benchmarks.bench_scaling [--processes 2] [--steps 8]

The recipe's last phase at its batch, split over the processes, which sum their gradients in one
message a step (gloo). Each process has one thread, pinned to a core of its own. Turns alternate;
the first steps of each are left out. Prints, asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PHASE, WARMUP = 5, 2


def step_seconds(processes: int, steps: int) -> list[float]:
    """Seconds of each step of a training of so many processes, as the first of them saw it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "steps.json"
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", __spec__.name),
            *("--steps", str(steps), "--worker", str(out)),
        ]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seconds: list[float] = json.loads(out.read_text())
    return seconds


def work(steps: int, out: Path) -> None:
    """One of the processes that torchrun starts."""
    import torch
    import torch.distributed as dist

    from models.machine.memory import keep_freed_memory
    from models.training.recipe import load_recipe
    from models.training.trainer import Trainer

    rank = int(os.environ["RANK"])
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    keep_freed_memory()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    recipe, seconds = load_recipe("fashion-mbv3"), []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, Path(folder), resume=False)
        trainer.phase = PHASE
        for _ in range(WARMUP + steps):
            begun = time.perf_counter()
            trainer._train_step(recipe.phases[PHASE])
            seconds.append(time.perf_counter() - begun)
            trainer.step += 1
    if rank == 0:
        out.write_text(json.dumps(seconds[WARMUP:]))
    dist.destroy_process_group()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.steps, given.worker)
        return
    one, many = [], []
    for _ in range(given.turns):
        one += step_seconds(1, given.steps)
        many += step_seconds(given.processes, given.steps)
    ratio = np.median(one) / np.median(many)
    print(
        f"a step takes {np.median(one):.2f} s with one process, {np.median(many):.2f} s with "
        f"{given.processes}: {ratio:.2f} times as fast, {ratio / given.processes:.0%} of linear"
    )


if __name__ == "__main__":
    main()

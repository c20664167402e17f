"""What watching a training costs, and how well it tells the time left.

    python -m tests.benchmarks.bench_watching [--steps 30]

Trains the shipped recipe with every phase cut to a few steps (some five minutes on two cores),
watched as `supernets train` does it. Prints the share of the time that validation took, and at
tenths of the time the time left as it was told beside what it was. Exits with 1 if validation took
more than 5 % (its last one is made in any case) or the time told after a tenth is off by more than
a third.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from models.training.progress import TrainingProgress
from models.training.recipe import load_recipe
from models.training.trainer import Trainer
from models.training.training_log import read_points
from models.training.training_watch import TrainingWatch

MAX_SHARE, MAX_ERROR = 0.05, 1 / 3


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30, help="of each phase")
    steps = parser.parse_args().steps
    recipe = load_recipe("fashion-mbv3")
    phases = tuple(replace(p, epochs=1, warmup_epochs=0.0) for p in recipe.phases)
    recipe = replace(recipe, phases=phases, holdout=60_000 - steps * recipe.batch_size)
    told: list[tuple[float, float]] = []
    start = time.monotonic()

    def show(now: TrainingProgress) -> None:
        if now.seconds_left is None:
            return
        passed_s = time.monotonic() - start
        told.append((passed_s, now.seconds_left))
        if now.step % 10 == 0:
            left = f"{now.seconds_left:.0f} s left"
            print(f"{now.phase} step {now.step}/{now.steps}, {passed_s:.0f} s, {left}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, Path(folder), resume=False)
        watch = TrainingWatch(trainer)
        start = time.monotonic()
        trainer.run(show, watch=watch)
        total_s = time.monotonic() - start
        points = len(read_points(Path(folder)))
    share = watch.spent_s / total_s
    print(f"\nvalidated {points} times, {share:.1%} of {total_s:.0f} s")
    errors = {}
    for tenth in range(1, 10):
        passed_s, left_s = min(told, key=lambda one: abs(one[0] - total_s * tenth / 10))
        errors[tenth] = left_s / (total_s - passed_s) - 1
        was = f"was {total_s - passed_s:.0f} s, {errors[tenth]:+.0%}"
        print(f"after {tenth}/10: told {left_s:.0f} s, {was}")
    if share > MAX_SHARE or abs(errors[1]) > MAX_ERROR:
        sys.exit(1)


if __name__ == "__main__":
    main()

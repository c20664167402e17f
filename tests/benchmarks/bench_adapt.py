"""Adapting a supernet to classes that it never saw, against training on them from scratch.

    python -m tests.benchmarks.bench_adapt [--folder DIR] [--unseen 2,4,6] [--base-minutes 30]

Trains the shipped space on seven classes of Fashion-MNIST, once for each folder. Adapts it to the
other three with 100 images a class, and with the classifier alone for as long; trains the same
space on the same images from scratch for four times as long. All are tested on the 3,000 test
images of the three classes: pullover, coat and shirt by default, the hardest to tell apart.

Wanted, of the largest, a middle and the smallest network: adapted is at least 3 points better than
from scratch, and 1 better than the classifier alone. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.bundle.bundle import Bundle
from models.data.datasets import FASHION_CLASSES
from models.data.images import load_fashion_mnist
from models.training.recipe import Recipe, load_recipe
from models.training.training_run import train
from models.training.transfer.adaptation import scratch_recipe
from service.cli.output.training import TrainingDisplay

PER_CLASS = 100
BETTER_THAN_SCRATCH, BETTER_THAN_HEAD = 3.0, 1.0
HELD_OUT = 3500
CLASSES = len(FASHION_CLASSES)


def write_folder(folder: Path, classes: list[int], per_class: int | None) -> Path:
    """Images of Fashion-MNIST as class folders under `folder/train` and `folder/test`."""
    if folder.exists():
        return folder
    print(f"writing {folder}", file=sys.stderr, flush=True)
    partial = folder.with_name(f"{folder.name}.partial")
    for side, data in zip(("train", "test"), load_fashion_mnist(), strict=True):
        for label in classes:
            rows = np.flatnonzero(data.labels == label)
            if side == "train":
                rows = rows[:per_class]
            place = partial / side / FASHION_CLASSES[label].lower().replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            for row, pixels in zip(rows, data.images[rows], strict=True):
                Image.fromarray(pixels).save(place / f"{row:05}.png", compress_level=1)
    return partial.rename(folder)


def base_recipe(name: str, images: Path, classes: int, minutes: float) -> Recipe:
    """The shipped space for these images, trained for so long on this machine."""
    shipped = load_recipe("fashion-mbv3")
    space = replace(shipped.space, name=name, classes=classes)
    recipe = replace(shipped, name=name, dataset=str(images), holdout=HELD_OUT, space=space)
    trained = 6000 * classes - HELD_OUT
    return scratch_recipe(recipe, trained, minutes).recipe


def train_base(home: Path, name: str, images: Path, classes: int, minutes: float) -> Bundle:
    """The supernet of the seven classes; a second call finds it."""
    path = home / "supernets" / name
    if not path.exists():
        with TrainingDisplay(name) as display:
            train(
                base_recipe(name, images, classes, minutes),
                home,
                on_progress=display.on_progress,
                on_images=display.on_images,
                on_point=display.on_point,
            )
    return Bundle.open(path)


def adapt(home: Path, base: str, name: str, images: Path, *options: object) -> dict[str, Any]:
    """By the command; one that was finished before is read."""
    path = home / "supernets" / name
    if not path.exists():
        given = ["--images", images, "--name", name, "--no-predictor", "--json", *options]
        command = [sys.executable, "-m", "service", "supernets", "adapt", base, *map(str, given)]
        environment = {**os.environ, "SUBNET_HOME": str(home)}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = Bundle.open(path).card["metrics"]["adaptation"]
    return found


def report(args: argparse.Namespace) -> bool:
    """Whether what is wanted was reached."""
    unseen = sorted(int(label) for label in args.unseen.split(","))
    seen = [label for label in range(CLASSES) if label not in unseen]
    key = "-".join(map(str, unseen))
    home = args.folder.resolve() / "home"
    few = write_folder(args.folder.resolve() / f"few-{key}", unseen, PER_CLASS)
    base = f"fashion-without-{key}"
    if not (home / "supernets" / base).exists():
        most = write_folder(args.folder.resolve() / f"seen-{key}", seen, None)
        train_base(home, base, most, len(seen), args.base_minutes)
    trained = Bundle.open(home / "supernets" / base).card["metrics"]["test_top1"]
    names = ", ".join(FASHION_CLASSES[label] for label in unseen)
    print(f"base of the other classes, test top-1: {json.dumps(trained)}\nadapted to: {names}")

    minutes, run = args.minutes, args.run
    scratch = ("--compare-scratch", args.scratch_minutes)
    both = adapt(home, base, f"adapted-{key}-{run}", few, "--minutes", minutes, *scratch)
    head = adapt(home, base, f"head-{key}-{run}", few, "--minutes", minutes, "--head-only")
    rows = {
        f"adapted, {minutes:g} min": both["adapted"],
        f"classifier alone, {minutes:g} min": head["head_only"],
        f"from scratch, {args.scratch_minutes:g} min": both["from_scratch"],
    }
    print(f"{'percent of the test images':44}", *both["archs"], sep="\t")
    for label, top1 in rows.items():
        print(f"{label:44}", *(f"{top1[network]:.2f}" for network in both["archs"]), sep="\t")
    gaps = {
        network: (
            both["adapted"][network] - both["from_scratch"][network] - BETTER_THAN_SCRATCH,
            both["adapted"][network] - head["head_only"][network] - BETTER_THAN_HEAD,
        )
        for network in both["archs"]
    }
    missed = [network for network, gap in gaps.items() if min(gap) < 0]
    print(f"missed by: {', '.join(missed)}" if missed else "reached by all three")
    return not missed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("var/bench_adapt"))
    parser.add_argument("--unseen", default="2,4,6", help="labels held out of the base")
    parser.add_argument("--base-minutes", type=float, default=30.0)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--scratch-minutes", type=float, default=20.0)
    parser.add_argument("--run", default="1", help="another name adapts again")
    sys.exit(0 if report(parser.parse_args()) else 1)

"""From a folder of images to a verified ONNX file by three commands, in a fresh home.

    SUBNET_IMAGES=cifar5k python -m tests.benchmarks.bench_first_network
    SUBNET_IMAGES=photos python -m tests.benchmarks.bench_first_network --minutes 2 --bar-minutes 5

`supernets init`, `supernets train` and `search --measure -o` run as a user runs them; nothing is
edited. Prints the time of each part and the accuracies, and exits 1 if the whole takes longer than
the bar, or the file is not what was predicted. An otherwise idle machine is needed.
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
from typing import Any

BAR_MINUTES, TRAIN_MINUTES = 12.0, 8.5
NAME = "first"


def run(home: Path, folder: Path, *args: str) -> tuple[dict[str, Any], float]:
    """What a command prints as JSON, and its seconds; its progress is shown."""
    print(f"$ subnet-search {' '.join(args)}", flush=True)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "service", *args, "--json"],
        cwd=folder,
        env={**os.environ, "SUBNET_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode} after {seconds:.0f} s")
    found: dict[str, Any] = json.loads(done.stdout)
    return found, seconds


def parts_of(train_s: float, card: dict[str, Any]) -> dict[str, float]:
    """Seconds of the parts of `supernets train`, by the supernet's card."""
    energy = card["energy"]
    training_s = energy["training"]["duration_s"]
    measuring_s = energy["predictor_data"]["duration_s"]
    return {
        "training": training_s,
        "measuring subnets": measuring_s,
        "decoding, corners, fits, start": train_s - training_s - measuring_s,
    }


def main() -> None:
    """Run the three commands."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=TRAIN_MINUTES, help="given to init")
    parser.add_argument("--bar-minutes", type=float, default=BAR_MINUTES)
    parser.add_argument("--latency-ms", help="given to search")
    asked = parser.parse_args()
    images = os.environ.get("SUBNET_IMAGES")
    if not images:
        raise SystemExit("SUBNET_IMAGES: expected a folder of images in class folders")
    limits = ["--latency-ms", asked.latency_ms] if asked.latency_ms else []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        home, model = work / "home", work / f"{NAME}.onnx"
        made, init_s = run(
            home,
            work,
            *("supernets", "init", str(Path(images).absolute())),
            *("--name", NAME, "--minutes", str(asked.minutes)),
        )
        _, train_s = run(home, work, "supernets", "train", f"{NAME}.toml")
        card = json.loads((home / "supernets" / NAME / "card.json").read_text())
        found, search_s = run(
            home,
            work,
            *("search", "--supernet", NAME, "--device", "host", "--measure", "-o", str(model)),
            *limits,
        )
        is_written = model.is_file()
    report(asked, made, card, found, init_s, train_s, search_s)
    if not is_written or init_s + train_s + search_s > 60 * asked.bar_minutes:
        raise SystemExit(f"missed: expected a file within {asked.bar_minutes:g} min")


def report(
    asked: argparse.Namespace,
    made: dict[str, Any],
    card: dict[str, Any],
    found: dict[str, Any],
    init_s: float,
    train_s: float,
    search_s: float,
) -> None:
    """Print the figures."""
    recipe, planned = made["recipe"], made["estimated_s"]
    epochs = ", ".join(f"{phase['name']} {phase['epochs']}" for phase in recipe["phases"])
    print(
        f"space: {recipe['space']['resolutions'][-1]} px, {len(recipe['space']['stages'])} stages"
    )
    print(f"batch {recipe['batch_size']}, epochs: {epochs}; planned (s): {planned}")
    seconds = {
        "init": init_s,
        "train": train_s,
        **{f"  {part}": took for part, took in parts_of(train_s, card).items()},
        "search, measure, export": search_s,
        "all": init_s + train_s + search_s,
    }
    for part, took in seconds.items():
        print(f"{part:36} {took:7.1f} s")
    print(f"train, planned                       {planned['all']:7.1f} s")
    test, predictor = card["metrics"]["test_top1"], card["predictor"]
    print(f"test top-1: largest {test['largest']}, smallest {test['smallest']} (measured)")
    print(f"predictor: {predictor['count']} subnets, expected error {predictor['rmse']:.2f} points")
    top1 = found["export"]["verified"]["top1"]
    print(
        f"file: predicted top-1 {found['top1']:.2f}, {top1['value']:.2f} +- "
        f"{top1['expected_error']:.2f} measured on {top1['images']} held-out images; "
        f"{found['latency_ms']:.3g} ms predicted, {found['macs'] / 1e6:.1f} M MACs"
    )


if __name__ == "__main__":
    main()

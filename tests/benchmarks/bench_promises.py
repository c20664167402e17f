"""What searches promise against what their networks score, for any supernet.

    python -m tests.benchmarks.bench_promises SUPERNET [--device D] [--budgets 20] [--seed 0]

Budgets are drawn by a seed, uniform in their logarithm, of latency where a device is given, else of
multiply-accumulates. The networks found are measured on the data set's test images, which no weight
and no predictor's fit has seen: the predictor is fitted to accuracies on other images, those held
out of training. Two figures of it are of the test images: how much harder they are on average, and
the mean error that `fit-predictor` subtracts, of networks for other budgets. So a promise is for
these test images, and so is what this prints. Networks that were measured before, by
`fit-predictor`, are marked and counted.

Wanted: mean error within 0.3 of the stated error of zero, 90 % inside the stated interval.
Prints, asserts nothing. Measured networks are kept in SUBNET_HOME/promises; a second run goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from models.bundle.measured import Measured, read_measured
from models.data.datasets import load_dataset
from models.machine import keep_freed_memory
from models.onnx.export import ImageSet, measure_top1
from search.evolution.run import search_subnet
from service.catalog.catalog import open_catalog
from service.catalog.deployment_context import DeploymentContext
from service.settings import Settings


def draw_budgets(context: DeploymentContext, limit: str, count: int, seed: int) -> list[float]:
    """From just above the least cost to the largest."""
    cost = context.costs[limit]
    low, high = np.log(1.02 * cost.floor()), np.log(cost.ceiling())
    return np.exp(np.random.default_rng(seed).uniform(low, high, count)).tolist()


class Scorer:
    """Measures networks on the test images, each once."""

    def __init__(self, context: DeploymentContext, home: Path, threads: int) -> None:
        bundle = self.bundle = context.bundle
        self.path = home / "promises" / f"{bundle.name}-{bundle.sha256[:12]}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.known = (
            {row.arch: row.top1 for row in read_measured(self.path)} if self.path.exists() else {}
        )
        test = load_dataset(bundle.card["recipe"]["dataset"], bundle.space).test
        self.labels, self.threads = test.labels, threads
        self.test = ImageSet(test.images, bundle.mean, bundle.std)
        self.calibration = ImageSet(bundle.calibration(), bundle.mean, bundle.std)
        self.supernet = bundle.load_supernet()

    def top1(self, arch) -> float:
        """Percent of the test images."""
        if arch not in self.known:
            sets = (self.calibration, self.test, self.labels, self.threads)
            self.known[arch] = measure_top1(self.supernet, arch, *sets)
            with self.path.open("a") as file:
                file.write(Measured(arch, self.known[arch], "test").to_json() + "\n")
        return self.known[arch]


def report(supernet: str, device: str | None, count: int, seed: int, threads: int) -> None:
    keep_freed_memory()
    home = Settings().home
    context = open_catalog(Settings()).context(supernet, device)
    predictor, limit = context.require_predictor(), "latency_ms" if device else "macs"
    scorer = Scorer(context, home, threads)
    before = set()
    if context.bundle.has("measured.jsonl.gz"):
        with context.bundle.pinned("measured.jsonl.gz") as path:
            before = {row.arch for row in read_measured(path)}
    errors, inside, seen = [], [], 0
    print(f"{limit:>12}  promised  measured  error   interval")
    for index, budget in enumerate(draw_budgets(context, limit, count, seed)):
        found = search_subnet(context.space, predictor, context.costs, {limit: budget}, index)
        described, measured = context.describe(found.arch), scorer.top1(found.arch)
        interval = described.get("top1_interval")
        errors.append(described["top1"] - measured)
        words = "none stated"
        if interval is not None:
            inside.append(interval["low"] <= measured <= interval["high"])
            words = f"{interval['low']:.2f} to {interval['high']:.2f}"
            words += "" if inside[-1] else "  outside"
        if found.arch in before:
            seen += 1
            words += "  measured before"
        numbers = f"{described['top1']:8.2f}  {measured:8.2f}  {errors[-1]:+5.2f}"
        print(f"{budget:12.5g}  {numbers}   {words}", flush=True)
    stated = context.top1_error
    print(
        f"{supernet}: {count} budgets, mean error {np.mean(errors):+.3f} points, worst "
        f"{max(errors, key=abs):+.2f}, root mean square {np.sqrt(np.mean(np.square(errors))):.3f}; "
        f"{seen} networks measured before"
    )
    if stated is not None:
        share = f", {np.mean(inside):.0%} inside the stated interval" if inside else ""
        print(
            f"stated error {stated:.3f}: the mean is {np.mean(errors) / stated:+.2f} of it{share}"
        )


def test_promises() -> None:
    """For `make bench`."""
    report("fashion-mbv3", "cpu-x86-64-ort", count=20, seed=0, threads=2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("supernet")
    parser.add_argument("--device")
    parser.add_argument("--budgets", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    report(given.supernet, given.device, given.budgets, given.seed, given.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())

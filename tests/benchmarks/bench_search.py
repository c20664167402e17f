"""How good and how fast searches are, at budgets and on devices that nobody tuned for.

    python -m tests.benchmarks.bench_search --seed 7 [--devices v100_1 lg-g8] [--budgets 24]
        [--seeds 5] [--effort quick normal] [--solvers annealing tabu genetic ours] [--folder F]

SUBNET_REFERENCE names the folder of what Once-for-All published. The seed draws the budgets. The
best known of each problem comes from several algorithms (`tests.benchmarks.best_known`). Its runs
are kept in the folder with the explored predictors, so a run that was stopped goes on. Ends
with 1 where a bar is missed. Without SUBNET_REFERENCE nothing is run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from models.spaces.genes import GeneMatrix
from search.costs.costs import CostModel, Floats
from search.evolution.effort import Effort
from search.evolution.run import SearchResult, search_subnet
from search.front import Front, front, merged
from tests.benchmarks.baselines import hypervolume, published_evolution
from tests.benchmarks.best_known import SOLVERS, BestKnown
from tests.benchmarks.search_problems import (
    NOTE10,
    OTHERS,
    RESNET,
    Bench,
    bench_of,
    catalog_with_predictors,
)

ROUNDING = 1e-4
"""Points of accuracy by which two evaluations of one network may differ."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What is wanted of an effort."""

    mean: float
    """Regret, percentage points."""
    worst: float
    median_s: float


BARS: Mapping[Effort, Bar] = {
    "quick": Bar(0.05, 0.15, 0.12),
    "normal": Bar(0.02, 0.08, 0.5),
    "thorough": Bar(0.02, 0.03, 3.0),
}
UNEXPLORED = Bar(0.05, 0.2, 0.5)
FRONT_S, FRONT_SHORT = 2.0, 5e-4
"""Seconds for a front, and the share of the hypervolume of all that is known that it may lack."""
SLOWER = 50
"""Times that the published evolution takes as long as a quick search."""


@dataclass
class Report:
    """What was missed."""

    missed: list[str] = field(default_factory=list)

    def check(self, met: bool, text: str) -> None:
        """Print a figure, with a mark if its bar is missed."""
        print(text if met else f"{text}  <-- MISSED", flush=True)
        if not met:
            self.missed.append(text.strip())


@dataclass
class Measured:
    """The searches of one group of problems at one effort."""

    regrets: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)


def searched(
    bench: Bench, limits: Mapping[str, float], seed: int, effort: Effort, known: GeneMatrix
) -> SearchResult:
    context = bench.context
    found = search_subnet(
        context.space, bench.predictor, context.costs, limits, seed, effort=effort, known=known
    )
    assert all(found.costs[name] <= most for name, most in limits.items())
    return found


def measure(
    name: str,
    bench: Bench,
    problems: Sequence[Mapping[str, float]],
    seeds: int,
    efforts: Sequence[Effort],
    best_known: BestKnown,
    bars: Mapping[Effort, Bar],
    report: Report,
    known: GeneMatrix,
) -> None:
    """Print regrets and times of searches against the best known, worst problems named.

    Args:
        known: networks of the front, which searches start from as those of the service do.
    """
    results: dict[Effort, list[list[SearchResult]]] = {effort: [] for effort in efforts}
    best = []
    for index, limits in enumerate(problems):
        problem = bench.problem(limits)
        label = f"{name} {index + 1}/{len(problems)}"
        most = best_known.top1(problem, bench.name, lambda what: print(f"  {what}", flush=True))
        for effort in efforts:
            found = [searched(bench, limits, seed, effort, known) for seed in range(seeds)]
            results[effort].append(found)
            winner = max(found, key=lambda result: result.top1)
            best_known.add(problem, bench.name, f"searches, {effort}", winner.genes)
            most = max(most, winner.top1)
        print(f"  {label}: best known {most:.3f}", flush=True)
        best.append(most)
    for effort in efforts:
        rows = [
            [most - r.top1 for r in found]
            for most, found in zip(best, results[effort], strict=True)
        ]
        regrets = np.array(rows)
        flat = [result for found in results[effort] for result in found]
        median_s = float(np.median([result.seconds for result in flat]))
        bar = bars[effort]
        worst = max(range(len(problems)), key=lambda i: regrets[i].max())
        at = ", ".join(f"{limit} {value:.5g}" for limit, value in problems[worst].items())
        start = f"{name}, {effort}: {len(flat)} searches"
        report.check(regrets.mean() <= bar.mean, f"{start}: mean regret {regrets.mean():.4f}")
        report.check(regrets.max() <= bar.worst, f"{start}: worst {regrets.max():.3f} at {at}")
        report.check(
            median_s <= bar.median_s,
            f"{start}: median {median_s:.3f} s, "
            f"{np.median([result.evaluations for result in flat]):.0f} evaluations",
        )
        below = _below_front(bench, problems, results[effort], known)
        report.check(below == 0, f"{start}: {below} below the front")


def _below_front(
    bench: Bench,
    problems: Sequence[Mapping[str, float]],
    results: Sequence[Sequence[SearchResult]],
    known: GeneMatrix,
) -> int:
    """How many searches end below a network of the front that meets their limits."""
    count, top1 = 0, bench.predictor.predict(known)
    for limits, found in zip(problems, results, strict=True):
        met = bench.problem(limits).feasible(known)
        least = top1[met].max(initial=0.0) - ROUNDING
        count += sum(result.top1 < least for result in found)
    return count


def measured_front(bench: Bench, report: Report, cost: str = "latency_ms") -> Front:
    """Print the time of a device's front."""
    latency = bench.context.costs[cost]
    assert isinstance(latency, CostModel)
    start = time.perf_counter()
    points = front(bench.context.space, bench.predictor, latency, seed=0)
    took_s = time.perf_counter() - start
    report.check(took_s <= FRONT_S, f"{bench.name}: front of {len(points)} in {took_s:.2f} s")
    return points


def check_hypervolume(
    bench: Bench, points: Front, known: Sequence[GeneMatrix], report: Report
) -> None:
    """Print how much of the hypervolume of all that is known the front has."""
    latency = bench.context.costs["latency_ms"]
    assert isinstance(latency, CostModel)
    rows = np.vstack([points.genes, *known])
    others = Front(rows, latency.evaluate(rows), bench.predictor.predict(rows))
    union = merged(points, others)
    corner = latency.ceiling(), float(points.top1[0])

    def volume(of: Front) -> float:
        x: Floats = of.latency_ms
        return hypervolume(x, of.top1, *corner)

    short = 1 - volume(points) / volume(union)
    report.check(
        short <= FRONT_SHORT, f"{bench.name}: front lacks {100 * short:.3f} % of the union"
    )


def compare_published(
    bench: Bench,
    problems: Sequence[Mapping[str, float]],
    known: GeneMatrix,
    best_known: BestKnown,
    report: Report,
) -> None:
    """Print how long the published evolution takes at its published settings, and how it ends.
    A quick search starts from the front, whose time is not counted: it is computed once."""
    latency = bench.context.costs["latency_ms"]
    assert isinstance(latency, CostModel)
    ratios, worse, regrets = [], 0, []
    for index, limits in enumerate(problems):
        ours = searched(bench, limits, 0, "quick", known)
        start = time.perf_counter()
        other = published_evolution(
            bench.context.space, bench.predictor, latency, limits["latency_ms"],
            np.random.default_rng(index),
        )  # fmt: skip
        ratios.append((time.perf_counter() - start) / ours.seconds)
        worse += other.top1 < ours.top1 + ROUNDING
        most = best_known.top1(bench.problem(limits), bench.name, lambda what: None)
        regrets.append(max(most, ours.top1) - other.top1)
        print(f"  published {index + 1}/{len(problems)}: {ratios[-1]:.0f} times", flush=True)
    report.check(
        min(ratios) >= SLOWER,
        f"published evolution: {min(ratios):.0f} to {max(ratios):.0f} times as long as quick, "
        f"median {np.median(ratios):.0f}; mean regret {np.mean(regrets):.3f}",
    )
    report.check(worse == len(problems), f"published evolution: no better on {worse}")


def run(options: argparse.Namespace, reference: Path) -> Report:
    report, folder = Report(), options.folder
    catalog = catalog_with_predictors(folder / "home", reference)
    best_known = BestKnown(folder / "best", tuple(options.solvers))
    efforts, seed = options.effort, options.seed
    for device in options.devices:
        bench = bench_of(catalog, reference, device)
        first = device == NOTE10
        count = options.budgets if first else -(-options.budgets // 2)
        seeds = options.seeds if first else -(-3 * options.seeds // 5)
        problems = bench.drawn(["latency_ms"], count, seed)
        points = measured_front(bench, report)
        args = (problems, seeds, efforts, best_known, BARS, report)
        measure(device, bench, *args, points.genes)
        known = [
            np.array([run["genes"]], np.uint8)
            for limits in problems
            for run in best_known.runs(bench.problem(limits), bench.name).values()
        ]
        check_hypervolume(bench, points, known, report)
        if not first:
            continue
        without = Bench(f"{device}, not explored", bench.context)
        predictor: Any = bench.predictor
        blank = replace(predictor, warm_start_pool=predictor.warm_start_pool[:0])
        object.__setattr__(without, "context", replace(bench.context, predictor=blank))
        own = measured_front(without, report).genes
        measure(
            without.name, replace(without, name=bench.name), problems, min(2, seeds), ["normal"],
            best_known, {"normal": UNEXPLORED}, report, own,
        )  # fmt: skip
        for names in (["latency_ms", "params"], ["latency_ms", "peak_memory_bytes"]):
            two = bench.drawn(names, -(-count // 4), seed)
            name = " + ".join(names)
            measure(name, bench, two, 2, efforts, best_known, BARS, report, points.genes)
        if not options.without_published:
            compare_published(bench, problems, points.genes, best_known, report)
    resnet = Bench(RESNET, catalog.context(RESNET, None))
    own = measured_front(resnet, report, "macs").genes
    for names in (["macs"], ["macs", "params"]):
        problems = resnet.drawn(names, -(-options.budgets // 4), seed)
        name = f"{RESNET}, {' + '.join(names)}"
        measure(name, resnet, problems, 2, efforts, best_known, BARS, report, own)
    return report


def test_search() -> None:
    """For `make bench`: a few budgets, prints figures."""
    if (folder := os.environ.get("SUBNET_REFERENCE")) is not None:
        run(_parser().parse_args(["--seed", "0", "--budgets", "6", "--seeds", "2"]), Path(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="draws the budgets")
    parser.add_argument("--devices", nargs="+", default=[NOTE10, *OTHERS])
    parser.add_argument("--budgets", type=int, default=24, help="of the Note10; half on others")
    parser.add_argument("--seeds", type=int, default=5, help="searches of a budget")
    efforts = get_args(Effort)
    parser.add_argument("--effort", nargs="+", default=list(efforts), choices=efforts)
    names = [solver.name for solver in SOLVERS]
    parser.add_argument("--solvers", nargs="*", default=names, choices=names)
    parser.add_argument("--folder", type=Path, default=Path("var/bench-search"))
    parser.add_argument("--without-published", action="store_true")
    return parser


def main() -> int:
    options = _parser().parse_args()
    if (folder := os.environ.get("SUBNET_REFERENCE")) is None:
        print("set SUBNET_REFERENCE to the folder of published files", file=sys.stderr)
        return 2
    report = run(options, Path(folder))
    print("\n".join(["", *(f"missed: {text}" for text in report.missed)]) or "all bars met")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""One supernet on this machine by two runtimes: two tables, two fronts, and whether the networks
that are searched for each are the faster ones there.

    python -m tests.benchmarks.bench_runtimes [--seconds 240] [--json FILE]

Wanted: OpenVINO's table predicts 40 networks that it is not made from, timed in the same rounds,
within 2 % on average. Then, at three budgets, the network searched for OpenVINO is compared with
the one searched for ONNX Runtime at equal or better predicted top-1, and all six are timed in both
runtimes, in the same rounds. Whether that pays is printed as it is. Exits with 1 if the bar is
missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from latency_tables.benchmark.measure import RuntimeStopwatch
from latency_tables.benchmark.plan import Timing, plan_benchmark, sample_networks
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.benchmark.runner import OnProgress, Partial, Rounds, TimedRuns, time_rounds
from latency_tables.benchmark.speed import at_usual_speed
from latency_tables.benchmark.table_assembly import assemble_table, p50_ms
from latency_tables.table.table import LatencyTable
from models.spaces.arch import Arch
from models.spaces.plan import layer_plan
from service.catalog.catalog import Catalog, open_catalog
from service.catalog.deployment_context import DeploymentContext
from service.catalog.fronts import FrontStore
from service.delivery.delivery import run_search
from service.settings import Settings

FIRST, SECOND = "openvino", "onnxruntime"
WANTED = 0.02
UNSEEN, UNSEEN_SEED = 40, 1
"""Networks that a table is checked on, drawn by another seed than its own."""
SHARES = (0.25, 0.5, 0.75)
"""Budgets, as shares of the way from the fastest network of the first runtime's front to the most
accurate one."""
NOTHING = 0.01
"""A difference of times that is no difference: two openings of one model differ by as much."""


@dataclass(frozen=True)
class Found:
    """A network, and what it was searched for."""

    budget: int
    runtime: str
    arch: Arch
    top1: float
    predicted_ms: float

    @property
    def name(self) -> str:
        return f"{self.budget} for {self.runtime}"


@contextmanager
def told(what: str) -> Iterator[OnProgress]:
    """A line every ten seconds, in a log too."""
    start = shown = time.monotonic()

    def show(share: float, doing: str = "") -> None:
        nonlocal shown
        if time.monotonic() - shown >= 10:
            shown = time.monotonic()
            print(f"{what}: {share:.0%} after {shown - start:.0f} s", file=sys.stderr, flush=True)

    print(f"{what} ...", file=sys.stderr, flush=True)
    yield show


def measured(
    catalog: Catalog, supernet: str, runtime: str, seconds: float
) -> tuple[LatencyTable, float]:
    """The table of this machine by a runtime, and its mean relative error of 40 networks that it is
    not made from, timed in the same rounds."""
    space = catalog.context(supernet, None).space
    options = MeasureOptions(runtime=runtime, target_s=seconds)
    plan = plan_benchmark(space, options.networks, options.seed)
    drawn = sample_networks(space, 2 * UNSEEN, UNSEEN_SEED)
    unseen = dict(islice(((n, c) for n, c in drawn.items() if n not in plan.networks), UNSEEN))
    stopwatch = RuntimeStopwatch(options)
    with told(f"measuring with {runtime}") as show:
        timings = {**plan.timings, **{name: Timing(chain) for name, chain in unseen.items()}}
        times = at_usual_speed(time_chains(timings, stopwatch, options, show), seed=options.seed)
    table = assemble_table(
        space,
        plan,
        {name: times[name] for name in plan.timings},
        device=f"host-{runtime}",
        conditions=stopwatch.conditions,
        runs=options.runs,
        seed=None,
    )
    ratios = np.array([table.network_ms(unseen[name]) / p50_ms(times[name]) for name in unseen])
    errors = np.abs(ratios - 1)
    rounds = len(next(iter(times.values())))
    print(
        f"{runtime}: {len(errors)} networks that the table is not made from are predicted within "
        f"{errors.mean():.2%} on average, {errors.max():.2%} at worst; {rounds} rounds"
    )
    return table, float(errors.mean())


def search_both(contexts: dict[str, DeploymentContext], catalog: Catalog) -> list[Found]:
    """Three networks for each runtime: those for the second are at least as accurate by
    prediction, on the second's own front."""
    fronts = {name: FrontStore(catalog.home / "fronts").get(contexts[name]) for name in contexts}
    first, second = fronts[FIRST], fronts[SECOND]
    found: list[Found] = []

    def search(budget: int, runtime: str, limit_ms: float) -> Found:
        best = run_search(contexts[runtime], {"latency_ms": limit_ms}, 0)
        return Found(budget, runtime, best.arch, best.top1, best.costs["latency_ms"])

    for budget, share in enumerate(SHARES, 1):
        limit_ms = first.latency_ms[0] + share * (first.latency_ms[-1] - first.latency_ms[0])
        found.append(search(budget, FIRST, float(limit_ms)))
        row = min(int(np.searchsorted(second.top1, found[-1].top1)), len(second) - 1)
        found.append(search(budget, SECOND, float(second.latency_ms[row])))
    return found


def time_all(
    found: Sequence[Found], contexts: dict[str, DeploymentContext], seconds: float
) -> dict[tuple[str, str], float]:
    """p50 of every network in every runtime, milliseconds, timed in the same rounds."""
    space = contexts[FIRST].bundle.space
    plans = {each.name: tuple(layer_plan(space, each.arch)) for each in found}
    watches = {name: RuntimeStopwatch(MeasureOptions(runtime=name)) for name in contexts}
    keys = {f"{name} | {runtime}": (name, runtime) for name in plans for runtime in watches}

    def prepare(key: str) -> TimedRuns:
        name, runtime = keys[key]
        return watches[runtime].prepare(plans[name])

    with told("timing the networks in both runtimes") as show:
        visits = time_rounds(list(keys), prepare, Rounds(target_s=seconds), Partial(None, ""), show)
    return {keys[key]: p50_ms(rows) for key, rows in visits.items()}


def report(found: Sequence[Found], ms: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Print the times, and say as it is whether searching for each runtime paid."""
    print(f"\n{'network':<20} {'top1':>6} {'predicted':>10} {FIRST:>10} {SECOND:>12}   (ms)")
    for each in found:
        here, there = ms[each.name, FIRST], ms[each.name, SECOND]
        figures = f"{each.predicted_ms:10.4f} {here:10.4f} {there:12.4f}"
        print(f"{each.name:<20} {each.top1:6.2f} {figures}")
    ratios: dict[str, list[float]] = {FIRST: [], SECOND: []}
    print()
    for own, other in zip(found[::2], found[1::2], strict=True):
        same = "the same network" if own.arch == other.arch else "other networks"
        for runtime, mine, theirs in ((FIRST, own, other), (SECOND, other, own)):
            ratios[runtime].append(ms[theirs.name, runtime] / ms[mine.name, runtime])
        shown = ", ".join(f"{name} {values[-1]:.3f}" for name, values in ratios.items())
        print(f"budget {own.budget} ({same}): time of the other's network over its own: {shown}")
    for runtime, values in ratios.items():
        gain = float(np.median(values)) - 1
        paid = "paid" if gain > NOTHING else "did not pay" if gain > -NOTHING else "cost"
        print(f"searching for {runtime} {paid}: {gain:+.1%} by the median of {len(values)} budgets")
    return {
        "networks": [
            {
                "budget": each.budget,
                "searched_for": each.runtime,
                "top1": each.top1,
                "predicted_ms": each.predicted_ms,
                "measured_ms": {runtime: ms[each.name, runtime] for runtime in (FIRST, SECOND)},
                "arch": each.arch.to_json(),
            }
            for each in found
        ],
        "ratios": ratios,
    }


def main() -> int:
    """The two tables, the check, the searches, the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--supernet", default="fashion-mbv3")
    parser.add_argument("--seconds", type=float, default=240.0, help="for each table")
    parser.add_argument("--json", help="file to write the figures to")
    given = parser.parse_args()
    catalog = open_catalog(Settings())
    bundle = catalog.supernets.get(given.supernet)
    tables, errors = {}, {}
    for runtime in (FIRST, SECOND):
        found = measured(catalog, given.supernet, runtime, given.seconds)
        tables[runtime], errors[runtime] = found
    contexts = {runtime: catalog.context_of(bundle, table) for runtime, table in tables.items()}
    networks = search_both(contexts, catalog)
    figures = report(networks, time_all(networks, contexts, given.seconds / 4))
    if given.json:
        conditions = {name: table.conditions.to_json() for name, table in tables.items()}
        with open(given.json, "w") as file:
            json.dump({"conditions": conditions, "mean_error": errors, **figures}, file, indent=1)
    good = errors[FIRST] <= WANTED
    print(f"\nmean error of {FIRST} {errors[FIRST]:.2%}, wanted at most {WANTED:.0%}: ", end="")
    print("met" if good else "MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

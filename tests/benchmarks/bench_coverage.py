"""How many searched networks stay below their upper bound, at other times than the table's.

    python -m tests.benchmarks.bench_coverage FOLDER [--sittings 3] [--apart 30m] [--seconds 240]
        [--networks 40] [--openings 3] [--supernet fashion-mbv3]

1. Measures this machine into FOLDER, an installation of its own, with so many sittings.
2. In as many further sittings, draws fresh networks from the device's front, at budgets drawn by a
   seed, and times each in several openings.
3. Prints the stated coverage of the bounds against the observed one, with a confidence interval.
4. Prints the same over all ways to give the table as many of the later sittings and to test it on
   the others: the drift is that of a whole sitting, so one way tells little.

Run it on a machine that does what it will do later. It takes sittings x 2 x apart; stopped, the
same command goes on. Prints, asserts nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.benchmark.measure import RuntimeStopwatch, measure_space
from latency_tables.benchmark.models import random_tensors
from latency_tables.benchmark.plan import Timing
from latency_tables.benchmark.rounds import MeasureOptions, time_chains
from latency_tables.benchmark.table_assembly import p50_ms
from latency_tables.table.prediction_bounds import student_t_cdf, upper_factor
from latency_tables.table.sittings import Sitting
from latency_tables.table.table import LatencyTable
from models.machine.files import write_atomically
from models.spaces.plan import layer_plan
from service.catalog.catalog import Catalog, open_catalog
from service.catalog.sittings import draw_searched, keep_sitting, time_sitting
from service.cli.devices.sittings import SHARE_OF_TABLE, wait_until
from service.contracts.timestamps import read_duration
from service.settings import Settings

DEVICE = "host"
CONFIDENCES = (0.8, 0.9, 0.95)
DRAWN = 1_000_000
"""Seed of the first sitting's networks, apart from those of the table's own sittings."""


def measured_table(catalog: Catalog, given: argparse.Namespace, apart: timedelta) -> LatencyTable:
    """This machine's table with its sittings; as many as are missing are measured."""
    bundle = catalog.supernets.get(given.supernet)
    space = catalog.context_of(bundle, None).space
    key = (space.name, "fp32")
    if key not in catalog.devices.keys().get(DEVICE, ()):
        options = MeasureOptions(device=DEVICE, target_s=given.seconds)
        catalog.keep_device(measure_space(space, options=options))
    kept = catalog.devices.kept(DEVICE, space.name)
    while 1 + len(kept.table.sittings) < given.sittings:
        wait_until(_last(kept.table) + apart, "until the table's next sitting")
        options = MeasureOptions(target_s=given.seconds * SHARE_OF_TABLE)
        found = time_sitting(catalog, bundle, kept.table, options)
        assert found.sitting is not None
        kept = keep_sitting(catalog, kept, found.sitting)
    return kept.table


def _last(table: LatencyTable) -> datetime:
    at = table.sittings[-1].measured_at if table.sittings else table.conditions.measured_at
    assert at is not None
    return datetime.fromisoformat(at)


def timed_sitting(
    catalog: Catalog, table: LatencyTable, given: argparse.Namespace, number: int
) -> dict[str, Any]:
    """Measured over predicted latency of fresh searched networks, one list an opening."""
    bundle = catalog.supernets.get(given.supernet)
    archs = draw_searched(catalog, bundle, table, given.networks, DRAWN + number)
    plans = {json.dumps(arch.to_json()): layer_plan(bundle.space, arch) for arch in archs}
    predicted = {name: table.network_ms(plan) for name, plan in plans.items()}
    ratios = []
    for opening in range(given.openings):
        options = MeasureOptions(
            target_s=given.seconds * SHARE_OF_TABLE / given.openings,
            openings=1,
            seed=given.openings * number + opening,
        )
        stopwatch = RuntimeStopwatch(options, random_tensors)
        timings = {name: Timing(plan) for name, plan in plans.items()}
        visits = time_chains(timings, stopwatch, options)
        ratios.append([p50_ms(visits[name]) / predicted[name] for name in plans])
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "archs": list(plans), "ratios": ratios}


def interval(shares: Sequence[float]) -> tuple[float, float]:
    """95 % of Student's t around the mean share of a sitting, clipped: all networks of a sitting
    drift together, so sittings are what is sampled."""
    mean, count = float(np.mean(shares)), len(shares)
    if count < 2:
        return 0.0, 1.0
    error = float(np.std(shares, ddof=1)) / math.sqrt(count)
    grid = np.linspace(0, 100, 100_001)
    quantile = float(grid[np.searchsorted(student_t_cdf(grid, count - 1), 0.975)])
    return max(0.0, mean - quantile * error), min(1.0, mean + quantile * error)


def as_sitting(timed: Mapping[str, Any]) -> Sitting:
    """Fresh networks as a table's sitting, each by the median of its openings."""
    ratios = np.median(np.array(timed["ratios"]), axis=0)
    return Sitting(
        measured_at=timed["at"],
        networks=len(ratios),
        ratio=float(np.median(ratios)),
        searched_ratios=tuple(ratios.tolist()),
    )


def other_ways(
    table: LatencyTable, sittings: Sequence[Sitting], confidence: float
) -> Iterator[tuple[float, float]]:
    """Factor and observed coverage of the table with as many later sittings as it has, for each
    choice of them; tested on those left."""
    everything = [*table.sittings, *sittings]
    numbers = range(len(everything))
    for known in itertools.combinations(numbers, len(table.sittings)):
        factor = replace(table, sittings=tuple(everything[n] for n in known)).upper_factor(
            confidence
        )
        left = [everything[n].searched_ratios for n in numbers if n not in known]
        yield factor, float(np.mean([np.mean(np.array(ratios) <= factor) for ratios in left]))


def report(table: LatencyTable, sittings: Sequence[Mapping[str, Any]]) -> None:
    """Stated against observed coverage."""
    conditions, drift = table.conditions, table.drift
    drifted = "unknown" if drift is None else f"{drift.deviation:.2%}"
    print(f"\n{conditions.runtime} {conditions.runtime_version}, {conditions.processor}")
    print(f"table: {1 + len(table.sittings)} sittings, drift between them {drifted}")
    searched, random = len(table.searched_ratios), len(table.residual_ratios)
    print(f"scores of {searched} networks from the front, {random} at random")
    for number, sitting in enumerate(sittings, 1):
        ratios = np.array(sitting["ratios"])
        print(
            f"sitting {number} at {sitting['at']}: {ratios.shape[1]} fresh networks in "
            f"{len(ratios)} openings, median {np.median(ratios):.3f} times their prediction, "
            f"openings {', '.join(f'{np.median(row):.3f}' for row in ratios)}"
        )
    print("\nstated  factor   observed  95 % interval   by sitting            without drift")
    for confidence in CONFIDENCES:
        try:
            factor = table.upper_factor(confidence)
            alone = upper_factor(table.residual_ratios, confidence)
        except ValueError as error:
            print(f"{confidence:6.0%}  {error}")
            continue
        shares = [float((np.array(s["ratios"]) <= factor).mean()) for s in sittings]
        before = float(np.mean([(np.array(s["ratios"]) <= alone).mean() for s in sittings]))
        low, high = interval(shares)
        by_sitting = ", ".join(f"{share:.0%}" for share in shares)
        print(
            f"{confidence:6.0%}  {factor:.4f}  {np.mean(shares):8.1%}  {low:.0%} to {high:.0%}"
            f"{'':6} {by_sitting:20}  {before:.1%} below {alone:.4f}"
        )
    fresh, known = [as_sitting(sitting) for sitting in sittings], len(table.sittings)
    print(f"\nover all ways to give the table {known} of {known + len(fresh)} later sittings")
    print("stated  observed  factors")
    for confidence in CONFIDENCES:
        try:
            ways = list(other_ways(table, fresh, confidence))
        except ValueError as error:
            print(f"{confidence:6.0%}  {error}")
            continue
        factors = [factor for factor, _ in ways]
        print(
            f"{confidence:6.0%}  {np.mean([share for _, share in ways]):8.1%}  "
            f"{min(factors):.4f} to {max(factors):.4f}, {len(ways)} ways"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--supernet", default="fashion-mbv3")
    parser.add_argument("--sittings", type=int, default=3)
    parser.add_argument("--apart", default="30m")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--openings", type=int, default=3)
    given = parser.parse_args()
    apart = read_duration(given.apart)
    catalog = open_catalog(Settings(home=given.folder))
    table = measured_table(catalog, given, apart)
    kept = given.folder / "coverage.json"
    sittings = json.loads(kept.read_bytes()) if kept.exists() else []
    while len(sittings) < given.sittings:
        last = datetime.fromisoformat(sittings[-1]["at"]) if sittings else _last(table)
        wait_until(last + apart, f"until sitting {len(sittings) + 1} of fresh networks")
        sittings.append(timed_sitting(catalog, table, given, len(sittings)))
        write_atomically(kept, json.dumps(sittings).encode())
    report(table, sittings)
    return 0


if __name__ == "__main__":
    sys.exit(main())

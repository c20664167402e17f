"""How well the sum over layers predicts whole networks on this machine.

    python -m tests.benchmarks.bench_latency [--seconds 120] [--networks 40] [--precision int8]
        [--space ofa-mbv3-w1.0 --resolution 160]

Measures a table, then times random networks whole that took no part in it. Wanted: mean error at
most 4 %, 95 % of networks within 10 %, and the bound at 90 % above 85 to 97 % of them. Further
networks tell how much slower the machine is by then, and the same is printed without that: a drift
of 2 % is nothing to the error, and everything to a bound 2 % above the prediction. Prints, asserts
nothing.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

from latency_tables.benchmark.measure import measure_space
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.benchmark.table_validation import validate_table
from models.bundle.bundle import BundleRegistry
from models.spaces.space import SearchSpace


def report(space: SearchSpace, options: MeasureOptions, networks: int) -> None:
    start = time.perf_counter()
    table = measure_space(space, options=options)
    took_s = time.perf_counter() - start
    conditions = table.conditions
    print(
        f"\n{space.name} at {', '.join(map(str, space.resolutions))}: {conditions.runtime} "
        f"{conditions.runtime_version}, {conditions.processor}, {conditions.threads} thread, "
        f"batch {conditions.batch}, {conditions.precision}"
    )
    print(f"{len(table.entries)} layers in {took_s:.0f} s: {table.source}")
    print(
        f"network overhead {table.network_overhead_ms * 1e3:.1f} us, expected error "
        f"{table.expected_error:.1%}"
    )
    result = validate_table(
        space,
        table,
        count=networks,
        options=dataclasses.replace(options, target_s=options.target_s / 4),
    )
    print("measured_ms  predicted_ms  error")
    for row in np.argsort(result.measured_ms)[:: max(networks // 10, 1)]:
        print(
            f"{result.measured_ms[row]:11.4f}  {result.predicted_ms[row]:12.4f}  "
            f"{result.predicted_ms[row] / result.measured_ms[row] - 1:+6.1%}"
        )
    for name, seen in (
        ("as measured", result),
        (f"without the drift since, x {result.drift:.3f}", result.without_drift()),
    ):
        print(
            f"{len(seen.archs)} networks {name}: mean error {seen.mean_error:.1%}, "
            f"within 10 %: {seen.share_within(0.1):.0%}, worst {seen.relative_error.max():.1%}, "
            f"bound at 90 % above {seen.share_below(table.upper_factor(0.9)):.0%}"
        )


def test_validation() -> None:
    """For `make bench`."""
    space = BundleRegistry(Path("none")).get("fashion-mbv3").space
    report(space, MeasureOptions(target_s=90), networks=40)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="fashion-mbv3")
    parser.add_argument("--resolution", type=int, action="append")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--networks", type=int, default=40)
    given = parser.parse_args()
    space = BundleRegistry(Path("none")).get(given.space).space
    if given.resolution:
        space = space.at(given.resolution)
    report(space, MeasureOptions(target_s=given.seconds, precision=given.precision), given.networks)
    return 0


if __name__ == "__main__":
    sys.exit(main())

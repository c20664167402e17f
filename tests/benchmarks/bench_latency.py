"""How well the sum over layers predicts whole networks on this machine.

    python -m tests.benchmarks.bench_latency [--seconds 60] [--networks 40]

Measures a table for the shipped space, then times random networks whole that took no part in it.
Wanted: mean error at most 5 %, and 95 % of networks within 10 %. Prints, asserts nothing.
"""

import argparse
import sys
import time

import numpy as np

from latency_tables.additivity import check_additivity
from latency_tables.measure import measure_space
from latency_tables.rounds import MeasureOptions
from models.bundle import ZOO, Bundle


def report(seconds: float, networks: int) -> None:
    space = Bundle.open(ZOO / "fashion-mbv3").space
    start = time.perf_counter()
    table = measure_space(space, options=MeasureOptions(target_s=seconds))
    took_s = time.perf_counter() - start
    conditions = table.conditions
    print(
        f"\n{conditions.runtime} {conditions.runtime_version}, {conditions.processor}, "
        f"{conditions.threads} thread, batch {conditions.batch}, {conditions.precision}"
    )
    print(f"{len(table.entries)} layers in {took_s:.0f} s: {table.source}")
    print(f"network overhead {table.network_overhead_ms * 1e3:.1f} us")

    options = MeasureOptions(target_s=seconds / 4)
    result = check_additivity(space, table, count=networks, options=options)
    print("measured_ms  predicted_ms  error")
    for row in np.argsort(result.measured_ms)[:: max(networks // 10, 1)]:
        print(
            f"{result.measured_ms[row]:11.4f}  {result.predicted_ms[row]:12.4f}  "
            f"{result.predicted_ms[row] / result.measured_ms[row] - 1:+6.1%}"
        )
    print(
        f"{len(result.archs)} networks: mean error {result.mean_error:.1%}, "
        f"within 10 %: {result.share_within(0.1):.0%}, worst {result.relative_error.max():.1%}"
    )


def test_additivity() -> None:
    """For `make bench`."""
    report(seconds=60, networks=40)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--networks", type=int, default=40)
    arguments = parser.parse_args()
    report(arguments.seconds, arguments.networks)
    return 0


if __name__ == "__main__":
    sys.exit(main())

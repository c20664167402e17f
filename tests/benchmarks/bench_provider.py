"""Whether a provider is measured in the time asked for, and how well its table predicts.

    python -m tests.benchmarks.bench_provider [--provider CUDAExecutionProvider] [--io device]
        [--target-s 120] [--batch 1] [--networks 30] [--supernet fashion-mbv3]

`devices measure` runs as a user runs it, in an installation of its own. Then networks that it did
not time are timed, in one opening, and compared with what its table predicts. Exits with 1 if the
command takes longer than 1.25 times `--target-s`, or the mean error is above 4 %. On a machine
without a GPU: `--provider CPUExecutionProvider --io host`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.benchmark.table_validation import validate_table
from service.catalog.catalog import open_catalog
from service.cli.output import progress_bar
from service.settings import Settings

DEVICE = "provider"
LATE, MEAN_ERROR = 1.25, 0.04
TIMING_S = 30.0
SEED = 30
"""Of the networks; another one than a measurement's."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", default="CUDAExecutionProvider")
    parser.add_argument("--io", default="device")
    parser.add_argument("--target-s", type=float, default=120.0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--supernet", default="fashion-mbv3")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        asked = ["--provider", given.provider, "--io", given.io, "--batch", given.batch]
        command = ["devices", "measure", DEVICE, "--supernet", given.supernet, *asked]
        command += ["--target-s", given.target_s]
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "service", *map(str, command)],
            env={**os.environ, "SUBNET_HOME": str(home)},
            check=True,
        )
        spent_s = time.monotonic() - started
        catalog = open_catalog(Settings(home=home))
        space = catalog.supernets.get(given.supernet).space
        table = catalog.devices.table(DEVICE, space.name)
        with progress_bar("timing networks") as show:
            found = validate_table(
                table.covered(space),
                table,
                count=given.networks,
                references=0,
                seed=SEED,
                options=MeasureOptions(target_s=TIMING_S),
                on_progress=lambda share, doing="": show(share, f"({doing})"),
            )
    errors = found.relative_error
    worst = int(np.argmax(errors))
    print(f"{table.conditions.processor}, {table.conditions.provider}, io {table.conditions.io}")
    print(f"devices measure --target-s {given.target_s:g}: {spent_s:.0f} s in all")
    print(
        f"{len(errors)} unseen networks: mean error {found.mean_error:.1%}, worst "
        f"{errors[worst]:.1%} (predicted {found.predicted_ms[worst]:.3f} ms, measured "
        f"{found.measured_ms[worst]:.3f} ms), {found.share_within(MEAN_ERROR):.0%} within 4 %"
    )
    met = spent_s <= LATE * given.target_s and found.mean_error <= MEAN_ERROR
    print("met" if met else "missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

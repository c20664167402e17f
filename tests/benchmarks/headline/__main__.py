"""OFA's headline on this ground: searched subnets against MobileNetV3 and EfficientNet.

    make headline ARGS="--epochs 20 --minutes 120"

Trains the families alone (kept under SUBNET_HOME/headline; a second call goes on), makes subnets
of the shipped supernet's front on this machine's table, times every file interleaved on one and
on two threads, and writes docs/headline/: a table, a plot and JSON, with conditions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from latency_tables.benchmark.measure import host_conditions, measure_space
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.table.table import LatencyTable
from models.bundle.bundle import SHIPPED, Bundle
from models.data.datasets import load_dataset
from models.training.recipe import load_recipe
from service.settings import Settings
from tests.benchmarks.headline.compare import Floats, compare_all, time_interleaved
from tests.benchmarks.headline.networks import (
    LONG,
    Ground,
    Network,
    mean_sd,
    searched,
    to_json,
    trained_alone,
)
from tests.benchmarks.headline.report import plot, write_page

OUT = Path(__file__).resolve().parents[3] / "docs" / "headline"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    bundle = Bundle.open(SHIPPED / "fashion-mbv3")
    recipe = load_recipe("fashion-mbv3")
    folder = Settings().home / "headline"
    folder.mkdir(parents=True, exist_ok=True)
    ground = Ground(bundle, recipe, load_dataset(recipe.dataset, recipe.space), folder)
    until = time.monotonic() + 60 * options.minutes
    columns = (*Progress.get_default_columns(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        alone = list(trained_alone(ground, options.epochs, range(options.seeds), until, bar))
        longest = _supernet_epochs(ground)
        group = f"{{family}}, {longest} epochs"
        alone += trained_alone(ground, longest, (0,), until, bar, grid=LONG, group=group)
    networks = [*alone, *searched(ground, _table(ground, options.table_s))]
    if not {"mobilenet-v3", "efficientnet"} <= {network.group for network in networks}:
        print("not every family has a trained network yet: run again to go on", file=sys.stderr)
        return 1
    document = _measure(ground, networks, options)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "headline.json").write_text(json.dumps(document, indent=1) + "\n")
    write_page(document, OUT / "README.md")
    plot(document, OUT / "headline.svg")
    print((OUT / "README.md").read_text())
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="of every network trained alone")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="of training in this call")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--table-s", type=float, default=120, help="of measuring layers")
    return parser.parse_args(arguments)


def _table(ground: Ground, seconds: float) -> LatencyTable:
    """This machine's, measured now: subnets are to be found for it and no other."""
    return measure_space(ground.bundle.space, options=MeasureOptions(target_s=seconds))


def _measure(
    ground: Ground, networks: Sequence[Network], options: argparse.Namespace
) -> dict[str, Any]:
    """Time all files and compare the groups; everything that was seen, as JSON."""
    groups = [network.group for network in networks]
    top1 = _by_group(groups, np.array([np.mean(network.top1) for network in networks]))
    top1_sd = _by_group(groups, mean_sd(networks))
    seen, speedups = [], {}
    for threads in (1, 2):
        visits = time_interleaved([n.model for n in networks], threads, options.rounds)
        seen.append(np.median(visits, axis=1))
        speedups[threads] = compare_all(top1, _by_group(groups, visits), top1_sd)
    rows = [
        {
            **to_json(network),
            "top1_mean_sd": float(sd),
            "p50_ms": {"1": float(seen[0][n]), "2": float(seen[1][n])},
        }
        for n, (network, sd) in enumerate(zip(networks, mean_sd(networks), strict=True))
    ]
    conditions = host_conditions()
    return {
        "networks": rows,
        "speedup_at_equal_top1": speedups,
        "epochs_alone": options.epochs,
        "supernet_sha256": ground.bundle.sha256,
        "supernet_epochs": _supernet_epochs(ground),
        "energy_kwh": {
            "supernet": ground.bundle.card["energy"]["training"]["energy_kwh"],
            "families": sum(network.energy_kwh for network in networks),
        },
        "conditions": {
            "runtime": conditions.runtime,
            "runtime_version": conditions.runtime_version,
            "processor": conditions.processor,
            "batch": 1,
            "rounds": options.rounds,
        },
    }


def _supernet_epochs(ground: Ground) -> int:
    return sum(phase["epochs"] for phase in ground.bundle.card["recipe"]["phases"])


def _by_group(groups: Sequence[str], values: Floats) -> Mapping[str, Floats]:
    names = np.array(groups)
    return {group: values[names == group] for group in sorted(set(groups))}


if __name__ == "__main__":
    sys.exit(main())

"""How well a table fitted to few whole networks predicts others: designed ones against random ones.

The truth is a shipped table, of whose networks times are drawn with noise. Prints the mean and the
worst error on networks that were not timed, without a donor and with one.

    python -m tests.benchmarks.quick_design [--repeats 5] [--noise 0.03]

Exits 1 if the designed networks miss the bar of a quick measurement.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from latency_tables.fitting import WholeNetworks, design_networks, fit_table
from latency_tables.table import LatencyTable
from models.spaces import Arch, SearchSpace, layer_plan
from service.catalog import Catalog, open_catalog
from service.settings import Settings

BAR = 0.05
UNSEEN = 200
Figures = tuple[float, float, float]
DEVICES = (
    ("fashion-mbv3", "cpu-x86-64-ort", "fp32"),
    ("fashion-mbv3", "cpu-x86-64-ort", "int8"),
    ("ofa-mbv3-w1.2", "samsung-note10", "fp32"),
)


def truth_of(catalog: Catalog, device: str, space: str, precision: str) -> LatencyTable:
    """A table that comes with the program."""
    return catalog.devices.table(device, space, precision)


def errors(
    table: LatencyTable, space: SearchSpace, truth: LatencyTable, archs: list[Arch]
) -> np.ndarray:
    """Relative errors of a table on networks."""
    plans = [layer_plan(space, arch) for arch in archs]
    true = np.array([truth.network_ms(plan) for plan in plans])
    return np.abs(np.array([table.network_ms(plan) for plan in plans]) / true - 1)


def run(
    space: SearchSpace,
    truth: LatencyTable,
    donor: LatencyTable | None,
    archs: list[Arch],
    noise: float,
    seed: int,
) -> Figures:
    """Mean and worst error on unseen networks, and the error that the table states."""
    rng = np.random.default_rng(seed)
    true = np.array([truth.network_ms(layer_plan(space, arch)) for arch in archs])
    measured = WholeNetworks(tuple(archs), true * rng.normal(1, noise, len(archs)))
    table = fit_table(space, measured, device="simulated", conditions=truth.conditions, donor=donor)
    part = table.covered(space)
    unseen = part.decode(part.sample(UNSEEN, np.random.default_rng(10_000 + seed)))
    found = errors(table, space, truth, [arch for arch in unseen if arch not in set(archs)])
    return float(found.mean()), float(found.max()), table.expected_error or 0.0


def main() -> int:
    """Print a line for each device, choice of networks and donor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.03)
    given = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as home:
        catalog = open_catalog(Settings(home=Path(home)))
        from models.spaces import published_spaces

        spaces = {**published_spaces(), **catalog.spaces()}
        for name, device, precision in DEVICES:
            space, truth = spaces[name], truth_of(catalog, device, name, precision)
            part = truth.covered(space)
            donors: list[LatencyTable | None] = [None]
            if name == "fashion-mbv3":
                other = "int8" if precision == "fp32" else "fp32"
                donors.append(truth_of(catalog, device, name, other))
            for count in (12, 24):
                designed = design_networks(part, count)
                for donor in donors:
                    rows: dict[str, list[tuple[float, float, float]]] = {
                        "designed": [],
                        "random": [],
                    }
                    for seed in range(given.repeats):
                        rng = np.random.default_rng(seed)
                        random = list(dict.fromkeys(part.decode(part.sample(count, rng))))
                        for how, archs in (("designed", designed), ("random", random)):
                            rows[how].append(run(part, truth, donor, archs, given.noise, seed))
                    for how, found in rows.items():
                        mean, worst, stated = np.array(found).mean(axis=0)
                        likely = (
                            f"with a donor ({donor.conditions.precision})" if donor else "alone"
                        )
                        print(
                            f"{name} {device} {precision}, {count} {how} {likely}: "
                            f"mean {mean:.1%}, worst {worst:.1%}, stated {stated:.1%}",
                            flush=True,
                        )
                        missed |= how == "designed" and count == 24 and mean > BAR
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

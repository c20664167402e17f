"""What is searched by the benchmark: devices nobody tuned for, at budgets that a seed draws."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latency_tables.fitting.fit import fit_table
from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.published.ofa_yaml import import_ofa_lut
from latency_tables.published.publish import read_gpus
from latency_tables.table.conditions import Conditions
from latency_tables.table.table import LatencyTable
from models.bundle.card import PREDICTOR
from models.errors import NotFound
from models.spaces.files import published_spaces
from search.costs.costs import Cost
from search.evolution.problem import SubnetProblem
from search.predictors.protocol import AccuracyPredictor
from service.catalog.catalog import Catalog, open_catalog
from service.catalog.deployment_context import DeploymentContext
from service.catalog.supernets.importing import import_supernet
from service.settings import Settings

NOTE10 = "samsung-note10"
MOBILE, RESNET = "ofa-mbv3-w1.2", "ofa-resnet50"
FILES = {MOBILE: "acc_predictor_mbv3_w1.2.pth", RESNET: "acc_predictor_resnet50.pth"}
OTHERS = ("v100_1", "2080ti_32", "titan_rtx_64", "titan_xp_32", "lg-g8")
"""Graphics cards at a batch, and a phone, whose tables no setting was chosen on."""
FITTED = 500
"""Networks that the table of a graphics card is fitted to."""
NEAR_FLOOR = 1.05
"""The least budget drawn, in floors."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One supernet on one device, or on none."""

    name: str
    context: DeploymentContext

    @property
    def predictor(self) -> AccuracyPredictor:
        """Explored once, when it was imported."""
        return self.context.require_predictor()

    def problem(self, limits: Mapping[str, float]) -> SubnetProblem:
        """The search for a network within `limits`."""
        context = self.context
        return SubnetProblem(context.space, self.predictor, context.costs, limits)

    def drawn(self, names: Sequence[str], count: int, seed: int) -> list[dict[str, float]]:
        """`count` problems: a budget of the first cost, log-uniform from just above its floor to
        where the most accurate network needs no more; of the others, as far along their range."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        shares = np.sort(rng.random(count))
        costs: dict[str, Cost] = {name: self.context.costs[name] for name in names}
        largest = self.context.space.encode([self.context.space.largest])
        ranges = {
            name: (NEAR_FLOOR * cost.floor(), 0.8 * float(cost.evaluate(largest)[0]))
            for name, cost in costs.items()
        }
        return [
            {name: float(low * (high / low) ** share) for name, (low, high) in ranges.items()}
            for share in shares
        ]


def catalog_with_predictors(folder: Path, reference: Path) -> Catalog:
    """The published predictors, imported and explored, in the home at `folder`."""
    catalog = open_catalog(Settings(home=folder))
    for name, file in FILES.items():
        if PREDICTOR not in catalog.supernets.get(name).card["files"]:
            print(f"{name}: exploring the predictor, once", flush=True)
            import_supernet(folder, name, None, predictor=reference / file)
    return open_catalog(Settings(home=folder))


def bench_of(catalog: Catalog, reference: Path, device: str) -> Bench:
    """The MobileNetV3 supernet on a device: the Note10, a graphics card as "v100_64", or one that
    is shipped.

    Raises:
        NotFound: if there is no such device.
    """
    mobile = catalog.supernets.get(MOBILE)
    if device == NOTE10:
        table = import_ofa_lut(
            reference / "note10_lut", mobile.space, device=device, source="Once-for-All"
        )
        return Bench(device, catalog.context_of(mobile, table))
    if "_" in device:
        return Bench(device, catalog.context_of(mobile, _fitted(reference, device)))
    return Bench(device, catalog.context(MOBILE, device))


def _fitted(reference: Path, device: str) -> LatencyTable:
    try:
        points = read_gpus(reference / "gpu_latency.json.gz", [device])[device][:FITTED]
    except KeyError as error:
        raise NotFound(f"device {device!r}: expected a card and a batch, as v100_64") from error
    measured = WholeNetworks(
        tuple(point.arch for point in points), np.array([point.latency_ms for point in points])
    )
    batch = int(device.rsplit("_", 1)[1])
    conditions = Conditions(runtime="not stated", precision="fp32", batch=batch)
    return fit_table(
        published_spaces()[MOBILE], measured, device=device.replace("_", "-"), conditions=conditions
    )


def contexts(home: Path) -> dict[str, DeploymentContext]:
    """The Note10 with the published predictor if SUBNET_REFERENCE is set, else what is shipped."""
    if (reference := os.environ.get("SUBNET_REFERENCE")) is None:
        catalog = open_catalog(Settings(home=home))
        return {"shipped": catalog.context("fashion-mbv3", "cpu-x86-64-ort")}
    catalog = catalog_with_predictors(home, Path(reference))
    return {NOTE10: bench_of(catalog, Path(reference), NOTE10).context}

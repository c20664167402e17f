"""Measure the accuracy of a supernet's subnets, for the predictor to be fitted to."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.bundle import (
    Bundle,
    add_to_bundle,
    compress,
)
from models.spaces import Arch
from search.evolution import search_subnet

FIT_SUBNETS, TEST_SUBNETS = 1100, 200

OnCount = Callable[[int, int], None]


def measure_subnets(
    bundle: Bundle,
    home: Path,
    *,
    fit_count: int = FIT_SUBNETS,
    test_count: int = TEST_SUBNETS,
    found_count: int | None = None,
    threads: int = 1,
    on_measured: OnCount = lambda done, total: None,
) -> Bundle:
    """Measure subnets on the images held out of training and keep the table in the bundle.

    Resumable: rows already measured with the same weights, in `home` or in the bundle, are kept
    and not repeated.

    Args:
        found_count: measure instead so many networks that searches find (`found_by_searches`),
            the first on the test images too.

    Raises:
        NotFound: if the data set is not on this machine.
        InputError: if the supernet was not trained here; or if networks are to be found, and there
            is no predictor to find them with.
    """
    from models.bundle import measure_subnets, subnets_to_measure
    from models.data import hold_out, load_dataset
    from models.machine import EnergyMeter, added

    recipe = bundle.recipe
    data = load_dataset(recipe["dataset"], bundle.space)
    _, held = hold_out(data.train, recipe["holdout"], recipe["seed"])
    table = home / "collected" / f"{bundle.name}-{bundle.sha256[:12]}.jsonl"
    _carry_over(bundle, table)
    if found_count is None:
        jobs = subnets_to_measure(bundle.space, fit_count, test_count, recipe["seed"])
    else:
        jobs = [(arch, "fit") for arch in found_by_searches(bundle, found_count)]
    with EnergyMeter(recipe["country"]) as meter:
        rows = measure_subnets(
            bundle, held, data.test, table, jobs, threads=threads, on_measured=on_measured
        )
        spent = added(bundle.card["energy"].get("predictor_data"), meter)
    energy = {**bundle.card["energy"], "predictor_data": spent}
    return add_to_bundle(bundle, {"energy": energy}, {"measured.jsonl.gz": compress(rows)})


def found_by_searches(bundle: Bundle, count: int) -> list[Arch]:
    """Different networks that the bundle's predictor likes best, each within another budget of
    multiply-accumulates, from just above the least to the most.

    A search ends where its predictor errs upwards more often than not. Measured and fitted to,
    those errors are gone; fitting may make others, so that a second round can find more.

    Raises:
        InputError: if there is no predictor.
    """
    from service.catalog.deployment_context import DeploymentContext

    context = DeploymentContext.open(bundle, None)
    predictor, space = context.require_predictor(), context.space
    macs = context.costs["macs"]
    most = float(
        max(macs.evaluate(space.encode([space.at([r]).largest]))[0] for r in space.resolutions)
    )
    found: dict[Arch, None] = {}
    for seed, budget in enumerate(np.geomspace(1.05 * macs.floor(), most, count).tolist()):
        result = search_subnet(space, predictor, context.costs, {"macs": budget}, seed)
        found.setdefault(result.arch)
    return list(found)


def _carry_over(bundle: Bundle, table: Path) -> None:
    """Start `table` with what the bundle has measured already, perhaps on another machine."""
    if table.exists() or not bundle.has("measured.jsonl.gz"):
        return
    bundle.check("measured.jsonl.gz")
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(gzip.decompress(bundle.file("measured.jsonl.gz").read_bytes()))

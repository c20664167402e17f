"""Measure the accuracy of a supernet's subnets, for the predictor to be fitted to."""

from __future__ import annotations

import fcntl
import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.bundle import (
    Bundle,
    Measured,
    Split,
    add_to_bundle,
    compress,
    keeps_bundle,
    write_measured,
)
from models.errors import Conflict
from models.spaces import Arch, SearchSpace
from search.costs import macs_costs, params_costs
from search.evolution import search_subnet
from search.predictors import AccuracyPredictor
from service.catalog.deployment_context import DeploymentContext

FIT_SUBNETS, TEST_SUBNETS = 1100, 200

if TYPE_CHECKING:
    from models.data import LabelledImages

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
        Conflict: if its images have changed since the training.
        InputError: if the supernet was not trained here; or if networks are to be found, and there
            is no predictor to find them with.
    """
    from models.bundle import subnets_to_measure

    if found_count is None:
        seed = bundle.recipe["seed"]
        jobs = subnets_to_measure(bundle.space, fit_count, test_count, seed)
    else:
        jobs = [(arch, "fit") for arch in found_by_searches(bundle, found_count)]
    return measure_jobs(bundle, home, jobs, threads=threads, on_measured=on_measured)


@keeps_bundle
def measure_jobs(
    bundle: Bundle,
    home: Path,
    jobs: Sequence[tuple[Arch, Split]],
    *,
    threads: int = 1,
    on_measured: OnCount = lambda done, total: None,
) -> Bundle:
    """Measure `jobs`, but for those that were measured before, and keep all in the bundle.

    Raises:
        NotFound: if the data set is not on this machine, or the bundle was removed.
        Conflict: if its images have changed since the training, or another process measures subnets
            of these weights.
    """
    from models.bundle import measure_subnets, training_images
    from models.data import hold_out
    from models.machine import EnergyMeter, added

    recipe = bundle.recipe
    data = training_images(bundle, home / "images")
    by_class = recipe.get("holdout_by_class", False)
    _, held = hold_out(data.train, recipe["holdout"], recipe["seed"], by_class=by_class)
    with _alone(bundle, home) as table:
        _carry_over(bundle, table)
        with EnergyMeter(recipe["country"]) as meter:
            rows = measure_subnets(
                bundle,
                held,
                _some_of(data.test, len(held), recipe["seed"]),
                table,
                jobs,
                threads=threads,
                on_measured=on_measured,
            )
            spent = added(bundle.card["energy"].get("predictor_data"), meter)
        energy = {**bundle.card["energy"], "predictor_data": spent}
        return add_to_bundle(bundle, {"energy": energy}, {"measured.jsonl.gz": compress(rows)})


def _some_of(test: LabelledImages, held_out: int, seed: int) -> LabelledImages:
    """As many test images as are worth their time beside so many held-out ones."""
    from models.data import tested_count

    most = tested_count(len(test), held_out)
    if len(test) == most:
        return test
    return test.take(np.sort(np.random.default_rng([seed, 23]).permutation(len(test))[:most]))


def keep_rows(bundle: Bundle, home: Path, rows: Sequence[Measured]) -> Bundle:
    """Replace what the bundle and `home` keep of measured subnets.

    Raises:
        Conflict: as `measure_jobs`.
    """
    with _alone(bundle, home) as table:
        write_measured(table, rows)
        return add_to_bundle(bundle, {}, {"measured.jsonl.gz": compress(rows)})


@contextmanager
def _alone(bundle: Bundle, home: Path) -> Iterator[Path]:
    """The table that grows while subnets of these weights are measured, held against others, who
    would lose its rows. The system lets go of it when this process ends.

    Raises:
        Conflict: another process holds it.
    """
    table = home / "collected" / f"{bundle.name}-{bundle.sha256[:12]}.jsonl"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another process measures subnets of {bundle.name!r}: wait for it, or stop it "
                "with Ctrl-C there; what it has measured is kept"
            ) from error
        yield table


def found_by_searches(bundle: Bundle, count: int) -> list[Arch]:
    """Networks that searches with the bundle's predictor find: see `search_budgets`.

    Raises:
        InputError: if there is no predictor.
    """
    context = DeploymentContext.open(bundle, None)
    return search_budgets(context.space, context.require_predictor(), count)


def search_budgets(space: SearchSpace, predictor: AccuracyPredictor, count: int) -> list[Arch]:
    """Different networks that the predictor likes best, each within another budget: of
    multiply-accumulates and, every other one, of parameters, from just above the least to the most.

    A search ends where its predictor errs upwards more often than not.
    """
    costs = {"macs": macs_costs(space), "params": params_costs(space)}
    corners = space.encode([space.at([r]).largest for r in space.resolutions])
    found: dict[Arch, None] = {}
    for name, seeds in (("macs", range(0, count, 2)), ("params", range(1, count, 2))):
        most = float(costs[name].evaluate(corners).max())
        budgets = np.geomspace(1.05 * costs[name].floor(), most, len(seeds)).tolist()
        for seed, budget in zip(seeds, budgets, strict=True):
            found.setdefault(search_subnet(space, predictor, costs, {name: budget}, seed).arch)
    return list(found)


def _carry_over(bundle: Bundle, table: Path) -> None:
    """Start `table` with what the bundle has measured already, perhaps on another machine."""
    if table.exists() or not bundle.has("measured.jsonl.gz"):
        return
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(gzip.decompress(bundle.content("measured.jsonl.gz")))

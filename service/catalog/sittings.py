"""Sittings: a device's table compared with networks that are timed at another time.

Networks are drawn at random, which tells the drift, and from the device's front, as searches draw
them: a search chooses networks that the table takes for fast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.table import LatencyTable, Sitting
from models.bundle import PREDICTOR, Bundle
from models.errors import Conflict
from models.spaces import Arch
from service.catalog.catalog import Catalog
from service.catalog.devices import KeptTable
from service.catalog.fronts import FrontStore

if TYPE_CHECKING:
    from latency_tables.benchmark import MeasureOptions, OnProgress, TableValidation

NETWORKS, REFERENCES, SEARCHED = 40, 20, 20
"""Networks of a sitting: at random for the error, at random for the drift, from the front."""
ATTEMPTS = 5
"""Of keeping a sitting, when others keep theirs at the same moment."""


def time_sitting(
    catalog: Catalog,
    bundle: Bundle,
    table: LatencyTable,
    options: MeasureOptions,
    *,
    networks: int = NETWORKS,
    on_progress: OnProgress = lambda share, doing="": None,
) -> TableValidation:
    """Time networks on this machine, drawn anew in each sitting of a table.

    Raises:
        InputError: as `latency_tables.benchmark.validate_table`.
    """
    from latency_tables.benchmark import validate_table

    seed = int(table.sha256[:8], 16)  # another one after each sitting
    return validate_table(
        table.covered(bundle.space),
        table,
        count=networks,
        references=REFERENCES,
        searched=draw_searched(catalog, bundle, table, SEARCHED, seed),
        seed=seed,
        options=options,
        on_progress=on_progress,
    )


def draw_searched(
    catalog: Catalog, bundle: Bundle, table: LatencyTable, count: int, seed: int
) -> list[Arch]:
    """Up to `count` different networks as searches find them: the best within budgets drawn evenly
    over the front. None for a supernet without an accuracy predictor."""
    if not bundle.has(PREDICTOR):
        return []
    context = catalog.context_of(bundle, table)
    front = FrontStore(catalog.home / "fronts").get(context)
    latency_ms = front.latency_ms
    budgets = np.random.default_rng(seed).uniform(latency_ms[0], latency_ms[-1], 8 * count)
    within = np.searchsorted(latency_ms, budgets, side="right") - 1
    rows = list(dict.fromkeys(within.tolist()))[:count]
    return context.space.decode(front.genes[rows])


def keep_sitting(catalog: Catalog, kept: KeptTable, sitting: Sitting) -> KeptTable:
    """Keep one more sitting of a device's table as its next revision, beside those that others kept
    while it took place; returns that revision.

    Raises:
        Conflict: the device got another table meanwhile, of which the sitting tells nothing.
    """
    devices, table = catalog.devices, kept.table
    for attempt in range(ATTEMPTS):
        grown = kept.table.with_sitting(sitting)
        try:
            # Nothing that lint judges has changed, and the table was kept before.
            stored = devices.add(grown, follows=kept)
        except Conflict:
            kept = devices.kept(kept.name, table.space, table.conditions.precision)
            if kept.table.costs_sha256 != table.costs_sha256 or attempt == ATTEMPTS - 1:
                raise
        else:
            return replace(kept, table=grown, sha256=stored.sha256, revision=stored.number)
    raise AssertionError

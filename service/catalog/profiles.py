"""Tables from what users send about a device: a profile, a kit's file, measured networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.fitting import parse_head
from latency_tables.table import Conditions, LatencyTable, Sitting
from models.errors import Conflict, InputError, NotFound
from models.spaces import layer_plan
from service.catalog.catalog import Catalog
from service.catalog.devices import Devices, KeptTable

if TYPE_CHECKING:
    from service.storage import Revision


def read_sitting(catalog: Catalog, value: object) -> tuple[KeptTable, Sitting]:
    """A device's table, and what a file that its kit wrote later says of its speed.

    Raises:
        InputError: it is no such file, or it was measured under other conditions than the table.
        NotFound: there is no such device or table.
    """
    if not (isinstance(value, Mapping) and "rounds" in value):
        raise InputError("sitting: expected a file that a measuring kit wrote, with 'rounds'")
    from latency_tables.benchmark import sitting_from_kit

    profile, conditions = parse_head(value, "rounds")
    space = catalog.space(profile["space"])
    kept = catalog.devices.kept(profile["name"], space.name, conditions.precision)
    table = kept.table
    known = {table.conditions.measured_at, *(sitting.measured_at for sitting in table.sittings)}
    if conditions.measured_at in known - {None}:
        raise Conflict(
            f"sitting: what was measured at {conditions.measured_at} is in the table of device "
            f"{table.device!r} already; run the kit again, at another time"
        )
    return kept, sitting_from_kit(profile, conditions, space, table)


@dataclass(frozen=True, slots=True)
class Correction:
    """A table corrected by whole networks, and what that changed."""

    name: str
    """Of the device, as it was asked for."""
    table: LatencyTable
    revision: Revision
    networks: list[dict[str, Any]]
    """arch, measured_ms, and predicted_ms before and after."""
    error_before: float
    """Mean relative error of the revision before."""


def correct_device(
    catalog: Catalog,
    name: str,
    measurements: Mapping[str, Any],
    conditions: Conditions | None = None,
) -> Correction:
    """Fit a device's current table to networks timed on it, and keep it as a new revision.

    Args:
        measurements: `{"arch": [...], "latency_ms": [...], "batch", "runtime"}`, and "space" and
            "precision" where the device has several tables. Without a runtime, the table's counts.
        conditions: under what they were timed; None: the table's.

    Raises:
        NotFound: if there is no such device, or no such table of it.
        InputError: naming what does not hold, also if there are too few networks.
        BadTable: if the corrected table does not hold.
        Conflict: if the device got another table meanwhile.
    """
    from latency_tables.fitting import WholeNetworks, fit_table

    kept = _kept(catalog, name, measurements)
    table = kept.table
    space = catalog.space(table.space)
    rest = {k: v for k, v in measurements.items() if k not in ("space", "precision")}
    there, here = table.conditions, conditions or table.conditions
    if here.runtime != there.runtime:
        raise InputError(f"device {name!r}: {here.runtime} corrects no table of {there.runtime}")
    measured = WholeNetworks.from_json(rest, space, batch=there.batch, runtime=there.runtime)
    corrected = fit_table(
        space,
        measured,
        device=table.device,
        conditions=here,
        donor=table,
    )
    plans = [layer_plan(space, arch) for arch in measured.archs]
    before = [table.network_ms(plan) for plan in plans]
    drift = float(np.median(measured.latency_ms_N / np.array(before)))
    corrected = replace(corrected, sittings=table.sittings_before(drift))
    after = [corrected.network_ms(plan) for plan in plans]
    times = measured.latency_ms_N.tolist()
    revision = catalog.keep_device(corrected, follows=kept, measurements=dict(measurements))
    return Correction(
        name,
        corrected,
        revision,
        [
            {
                "arch": arch.to_json(),
                "measured_ms": time,
                "predicted_before_ms": old,
                "predicted_after_ms": new,
            }
            for arch, time, old, new in zip(measured.archs, times, before, after, strict=True)
        ],
        float(np.abs(np.array(before) / measured.latency_ms_N - 1).mean()),
    )


def _kept(catalog: Catalog, name: str, measurements: Mapping[str, Any]) -> KeptTable:
    chosen = {}
    for field in ("space", "precision"):
        value = measurements.get(field)
        if not (value is None or isinstance(value, str)):
            raise InputError(f"measurements.{field}: expected text, got {type(value).__name__}")
        chosen[field] = value
    return only_table(catalog.devices, name, **chosen, where="measurements: ")


def only_table(
    devices: Devices,
    name: str,
    space: str | None = None,
    precision: str | None = None,
    where: str = "",
) -> KeptTable:
    """The only table of a device, or the only one for this space, at this precision.

    Args:
        where: precedes the message of an error.

    Raises:
        NotFound: there is no such device or table.
        InputError: it has several of them.
    """
    tables = devices.get(name)
    found = [
        kept
        for kept in tables
        if space in (None, kept.table.space)
        and precision in (None, kept.table.conditions.precision)
    ]
    if len(found) != 1:
        known = [f"{kept.table.space} ({kept.table.conditions.precision})" for kept in tables]
        raise (InputError if found else NotFound)(
            f"{where}expected space and precision of one table of device {name!r}, which has "
            f"{', '.join(known)}; got space {space!r}, precision {precision!r}"
        )
    return found[0]

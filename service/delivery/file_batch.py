"""For how many images a file is made: what was asked for, or what the device's provider needs."""

from __future__ import annotations

from latency_tables.runtimes import why_fixed_batch
from latency_tables.table import LatencyTable
from models.errors import InputError
from service.contracts import FileBatch


def deliverable_batch(asked: FileBatch | None, table: LatencyTable | None) -> int | None:
    """The batch that a file is fixed to; None: it takes any number of images.

    Unless it is asked for, it is that of the device's table where the table was measured by a
    provider that needs it fixed (`latency_tables.runtimes.why_fixed_batch`).

    Raises:
        InputError: another batch than that of the table was asked for.
    """
    if asked == "dynamic":
        return None
    if table is None:
        return asked
    conditions = table.conditions
    if asked is None:
        needed = why_fixed_batch(conditions.runtime, conditions.provider)
        return None if needed is None else conditions.batch
    if asked != conditions.batch:
        raise InputError(
            f"batch: expected {conditions.batch}, for which the latencies of device "
            f"{table.device!r} are, or 'dynamic', got {asked}"
        )
    return asked

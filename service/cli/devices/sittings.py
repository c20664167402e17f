"""Further sittings of `devices measure`: the device is timed again at other times."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from service.cli.common import catalog
from service.cli.output import progress_bar

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from service.catalog import KeptTable

SHARE_OF_TABLE = 0.25
"""Time of a further sitting as a share of the table's: it times whole networks alone."""
STEP_S = 1.0
"""How often the wait is shown."""


def add_sittings(
    supernet: str, kept: KeptTable, sittings: int, apart: timedelta, target_s: float
) -> None:
    """Time networks again until a table has so many sittings, each kept as the next revision.

    Args:
        apart: from the end of one sitting to the start of the next.
        target_s: seconds that the table was measured for.
    """
    from latency_tables.benchmark import MeasureOptions
    from service.catalog import keep_sitting, time_sitting

    known = catalog()
    bundle = known.supernets.get(supernet)
    options = MeasureOptions(target_s=target_s * SHARE_OF_TABLE)
    while (number := 2 + len(kept.table.sittings)) <= sittings:
        wait_until(_last_sitting(kept.table) + apart, f"until sitting {number} of {sittings}")
        with progress_bar(f"sitting {number} of {sittings}") as show_share:
            found = time_sitting(known, bundle, kept.table, options, on_progress=show_share)
        assert found.sitting is not None
        kept = keep_sitting(known, kept, found.sitting)


def _last_sitting(table: LatencyTable) -> datetime:
    """When it was; now, if that is not known."""
    last = table.sittings[-1].measured_at if table.sittings else table.conditions.measured_at
    if last is None:
        return datetime.now(UTC)
    moment = datetime.fromisoformat(last)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def wait_until(moment: datetime, what: str) -> None:
    """Wait, and show for how long yet."""
    started = datetime.now(UTC)
    whole_s = (moment - started).total_seconds()
    if whole_s <= 0:
        return
    with progress_bar(what) as show_share:
        while (left_s := (moment - datetime.now(UTC)).total_seconds()) > 0:
            show_share(1 - left_s / whole_s)
            time.sleep(min(left_s, STEP_S))

"""Counters in the database: workers add to them, and every API process shows them in /metrics.

They are updated in the transaction of what they count, so that they agree with the rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.storage.sessions import unit_of_work
from service.storage.tables import CounterRow

Counts = Mapping[tuple[str, str], float]
"""By name and label."""

ENDED = "searches_ended"
"""By status."""
SECONDS = "search_seconds"
"""By upper bound of a bucket, each search in one; and their "sum"."""
MISSED = "verifications_missed"
"""By reason: models that were built and did not pass."""
BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


def add(session: Session, counts: Counts) -> None:
    """Add to some counters."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    # Always in the same order, so that two workers cannot deadlock.
    for (name, label), amount in sorted(counts.items()):
        row = dialect.insert(CounterRow).values(name=name, label=label, value=amount)
        key = ["name", "label"]
        session.execute(
            row.on_conflict_do_update(
                index_elements=key, set_={"value": CounterRow.value + row.excluded.value}
            )
        )


def of_ended(status: str, seconds: float) -> Counts:
    """What a search that ended adds to the counters."""
    index = bisect_left(BUCKETS_S, seconds)
    bound = f"{BUCKETS_S[index]:g}" if index < len(BUCKETS_S) else "+Inf"
    return {(ENDED, status): 1, (SECONDS, bound): 1, (SECONDS, "sum"): seconds}


class CounterStore:
    """Counters in a database whose schema is current."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, counts: Counts) -> None:
        """Add to some counters."""
        with unit_of_work(self._engine) as session:
            add(session, counts)

    def all(self) -> dict[tuple[str, str], float]:
        """Every counter, by name and label."""
        with unit_of_work(self._engine) as session:
            return {(row.name, row.label): row.value for row in session.scalars(select(CounterRow))}

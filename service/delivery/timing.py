"""Times of a finished model where it will run, and whether they meet a budget.

A latency table predicts the p50 of a network: the median over visits of each visit's median. A
finished model is timed in the same kind of visits and judged by the same statistic.

Shapes: V visits, R runs of a visit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.table import Conditions, LatencyTable, Precision
from models.errors import InputError
from service.contracts import Outcome

MAX_S = 2.0
"""No further visit starts after this time."""
STATISTIC = "p50"

Floats = npt.NDArray[np.float64]


class Timer(Protocol):
    """Times models under stated conditions."""

    def conditions(self, runtime: str, provider: str | None, threads: int) -> Conditions | None:
        """The conditions of an inference at fp32; None without that runtime or provider."""
        ...

    def times_ms(self, model: bytes, conditions: Conditions) -> Floats:
        """Milliseconds of single runs, (V, R); the runs of a visit follow one another."""
        ...


class HostTimer:
    """Times models with the runtimes of this machine."""

    def conditions(self, runtime: str, provider: str | None, threads: int) -> Conditions | None:
        """The conditions of this machine, now."""
        from latency_tables.benchmark import host_conditions

        try:
            return host_conditions(runtime, provider=provider, threads=threads)
        except InputError:  # NotFound too
            return None

    def times_ms(self, model: bytes, conditions: Conditions) -> Floats:
        """As many visits as `MAX_S` allows, over as many openings as a table is measured with."""
        from latency_tables.benchmark import time_model

        return time_model(model, conditions, max_s=MAX_S)


def as_device(
    timer: Timer, table: LatencyTable | None, precision: Precision, *, outputs: int = 1
) -> Conditions | None:
    """This host's conditions, if they are those of `table` at that precision; else None.

    Args:
        outputs: of the model. In a device's own memory, models of one output alone are timed.
    """
    if table is None or table.conditions.precision != precision:
        return None
    there = table.conditions
    if outputs > 1 and there.io == "device":
        return None
    here = timer.conditions(there.runtime, there.provider, there.threads or 1)
    if here is None:
        return None
    here = replace(here, precision=precision, batch=there.batch, io=there.io)
    return here if here.alike(there) else None


@dataclass(frozen=True, slots=True)
class LatencyBudget:
    """The budget that a finished model is judged by."""

    ms: float
    stated_error: float = 0.0
    """The table's expected error, a fraction of the latency, where the budget limits the
    prediction. 0 where it limits the upper bound: that leaves room for the error already."""

    def outcome(self, p50_ms: float) -> Outcome:
        """Whether a measured p50 meets the budget, or meets it only within the stated error."""
        if p50_ms <= self.ms:
            return "met"
        return "met_within_error" if p50_ms <= self.ms * (1 + self.stated_error) else "missed"


def time_in_words(times_ms: Floats) -> str:
    """The slow runs among single runs, (V, R) given."""
    p90, p99 = np.quantile(times_ms, (0.9, 0.99)).tolist()
    return f"p90 {p90:.3g}, p99 {p99:.3g} ms"


def measured_p50_ms(times_ms: Floats) -> float:
    """The statistic that tables predict, of single runs (V, R)."""
    from latency_tables.benchmark import p50_ms, visit_summary

    return p50_ms(np.array([visit_summary(visit) for visit in times_ms]))


def describe_times(
    times_ms: Floats, conditions: Conditions, budget: LatencyBudget | None
) -> dict[str, Any]:
    """What `verified.latency_ms` states of single runs, (V, R)."""
    value = measured_p50_ms(times_ms)
    judged: dict[str, Any] = {}
    if budget is not None:
        judged = {
            "budget_ms": budget.ms,
            "stated_error": budget.stated_error,
            "outcome": budget.outcome(value),
        }
    return {
        "value": value,
        "statistic": STATISTIC,
        "p90": float(np.quantile(times_ms, 0.9)),
        "p99": float(np.quantile(times_ms, 0.99)),
        "runs": times_ms.size,
        **judged,
        "batch": conditions.batch,
        "per_image_ms": value / conditions.batch,
        "origin": "measured",
        "conditions": conditions.to_json(),
    }

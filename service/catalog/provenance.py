"""Where a predicted latency comes from, and how far it may be off."""

from __future__ import annotations

from typing import Any

from latency_tables.table import LatencyTable, lint
from models.spaces import SearchSpace

DOUBTFUL = {"unit", "outlier", "trend", "bound", "provider"}
"""Kinds of findings about a whole table; those about single layers are in its expected error."""


def doubts(table: LatencyTable, space: SearchSpace) -> tuple[str, ...]:
    """Findings for which every latency predicted from the table may be wrong."""
    return tuple(found.text for found in lint(table, space) if found.kind in DOUBTFUL)


def upper_bound(table: LatencyTable, confidence: float | None = None) -> dict[str, Any] | None:
    """The upper bound of a latency and its method; None where the table supports none.

    Args:
        confidence: None: 0.9, or the highest that the networks measured on the device support.
    """
    confidence = confidence or table.usual_confidence
    if confidence is None:
        return None
    drift = table.drift
    drawn = "from the device's front" if table.bounded_by_searched(confidence) else "at random"
    how = "not included" if drift is None else "included (Student's t)"
    return {
        "origin": "predicted",
        "method": f"order statistic of measured over predicted latency of networks drawn {drawn}; "
        f"drift between sittings {how}",
        "coverage": "nominal",
        "confidence": confidence,
        "factor": table.upper_factor(confidence),
        "networks": len(table.bound_ratios(confidence)),
        "networks_drawn": drawn,
        "sittings": 1 + len(table.sittings),
        "drift_fraction": None if drift is None else drift.deviation,
    }


def table_provenance(table: LatencyTable) -> dict[str, Any]:
    """Where a latency predicted from `table` comes from, and what bounds it: at the nominal
    confidence a network takes at most `factor` times its prediction."""
    return {
        "origin": "predicted",
        "expected_error": table.expected_error,
        "expected_error_unit": "fraction of the latency (mean)",
        "upper_bound": upper_bound(table),
        "table_origin": table.origin,
        "estimated_resolutions": list(table.estimated_resolutions),
        "source": table.source,
        "conditions": table.conditions.to_json(),
    }

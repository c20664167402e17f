"""What is said of a latency beside its number: for how many images, whether it met a budget, and
which accelerators take part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

BATCH = "Images of one inference, for all of which together every latency and its budget is."
RUNTIME = (
    "What runs the networks on the device: all latencies here are its, such as onnxruntime; null "
    "without a latency."
)
Outcome = Literal["met", "met_within_error", "missed"]

_OUTCOMES: Mapping[str, str] = {
    "met": "met",
    "met_within_error": "met only within the table's stated error",
    "missed": "missed",
}


def outcome_in_words(outcome: str) -> str:
    """Whether the measured p50 met the budget."""
    return _OUTCOMES.get(outcome, outcome)


def measured_in_words(measured: Mapping[str, Any]) -> str:
    """One line about `verified.latency_ms`: p50, p90, p99 and the outcome."""
    images = images_in_words(measured.get("batch", 1))
    images += under_runtime(measured.get("conditions", {}).get("runtime"))
    # Earlier versions stated the least of the visits' medians.
    name = measured.get("statistic", "least p50 of a visit")
    line = (
        f"measured{images}: {name} {measured['value']:.4g} ms, p90 {measured['p90']:.4g} ms, "
        f"p99 {measured['p99']:.4g} ms"
    )
    if (outcome := measured.get("outcome")) is not None:
        line += f"; budget of {measured['budget_ms']:g} ms: {outcome_in_words(outcome)}"
    return line


def timing_in_words(verified: Mapping[str, Any]) -> list[str]:
    """Lines about how a finished file was timed, as `verified` has it; none if it was not."""
    lines = []
    if measured := verified.get("latency_ms"):
        lines.append(measured_in_words(measured))
    if missed := len(verified.get("stepped_down", ())):
        lines.append(
            f"{missed} network{'s' if missed > 1 else ''} predicted to meet the budget missed it "
            "when timed on this host; a faster one was delivered"
        )
    return lines


def images_in_words(batch: int) -> str:
    """For how many images the milliseconds of a table are; empty for one."""
    return f" for {batch} images" if batch > 1 else ""


def under_runtime(runtime: str | None) -> str:
    """By what a latency is, after the latency; empty where it is not known."""
    return f" under {runtime}" if runtime not in (None, "not stated") else ""


def bound_in_words(bound: Mapping[str, Any]) -> str:
    """What an upper bound aims at, from its provenance; never more than was shown."""
    drift = bound.get("drift_fraction")
    spread = "unknown" if drift is None else f"{drift:.1%}"
    return f"nominal coverage {bound['confidence']:.0%}, drift {spread}"


def sittings_in_words(sittings: int, drift_fraction: float | None) -> str:
    """How often a table was measured or checked, and how its device drifts in between."""
    times = f"{sittings} sitting{'s' if sittings > 1 else ''}"
    if drift_fraction is None:
        return f"{times}: the drift between sittings is unknown"
    return f"{times}: drift between them {drift_fraction:.1%} (standard deviation)"


def providers_in_words(file: Mapping[str, Any]) -> str | None:
    """One line about `file.providers`: which takes how much of the graph. None where no checker is
    installed."""
    providers: Sequence[Mapping[str, Any]] = file["providers"]
    if not providers:
        return None
    fixed = file["batch"] != "dynamic"
    if not any(each["nodes_taken"] for each in providers):
        *others, last = (each["provider"] for each in providers)
        names = f"{', '.join(others)} and {last}"
        return f"{names} take no node of it" + ("" if fixed else ": its batch is not fixed")
    taken = "; ".join(
        f"{each['provider']} {each['nodes_taken'] / each['nodes']:.0%} of the nodes in "
        f"{each['partitions']} part{'' if each['partitions'] == 1 else 's'}"
        for each in providers
    )
    batch = f"a batch of {file['batch']}" if fixed else "any batch"
    return f"for {batch}, estimated: {taken}"

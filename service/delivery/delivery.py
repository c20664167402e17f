"""From limits to a checked model that meets them: search, build, verify; step down if too slow."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from models.errors import Infeasible
from models.spaces import Arch
from search.evolution import SearchProgress, SearchResult, search_subnet
from search.target import search_cheapest
from service.catalog import (
    DeploymentContext,
    Goal,
    describe_layers,
    describe_prices,
    search_warnings,
    with_goal,
)
from service.contracts import FileBatch
from service.delivery.accuracy_check import Unverified
from service.delivery.file_batch import deliverable_batch
from service.delivery.model_builder import BuiltModel, ModelBuilder, Report
from service.delivery.quantization_report import compare
from service.delivery.timing import LatencyBudget

NO_GOAL = Goal()
FRONT_SHARE = 0.5
"""Of the progress of a search, where the front that it starts from is computed first."""
STEPS_DOWN = 3
"""Further searches, each under a tighter budget, after a model was timed above its budget."""


class BlobStore(Protocol):
    """Stores bytes by their sha256."""

    def put(self, content: bytes) -> str:
        """Store `content`; returns its sha256."""
        ...

    def get(self, sha256: str) -> bytes:
        """The stored bytes with this sha256."""
        ...


class MemoryBlobs:
    """A blob store in memory."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        """Store `content`; returns its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._blobs[sha256] = content
        return sha256

    def get(self, sha256: str) -> bytes:
        """The stored bytes with this sha256."""
        return self._blobs[sha256]


class StepRunner(Protocol):
    """Runs the steps of a delivery by name. A step returns JSON, so a durable runner can store the
    result and return it again instead of repeating the work."""

    def __call__(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of `work`, computed now or stored by an earlier run."""
        ...


def run_without_storing(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The step runner that stores nothing."""
    return work()


def deliver(
    context: DeploymentContext,
    builder: Callable[[], ModelBuilder],
    limits: Mapping[str, float],
    seed: int,
    *,
    goal: Goal = NO_GOAL,
    artifacts: BlobStore,
    intermediates: BlobStore | None = None,
    step: StepRunner = run_without_storing,
    report: Report = lambda step, share: None,
    allow_low_top1: bool = False,
    batch: FileBatch | None = None,
) -> dict[str, Any]:
    """Search, build the model and verify it; where this host is the device, time it too.

    Args:
        limits: upper limits in their units, "latency_confidence" among them.
        goal: what else is asked for.
        builder: called only when the supernet is needed.
        artifacts: stores the model; the answer has its sha256.
        intermediates: stores what one step hands to the next; default: in memory.
        step: runs "search", "build" and "verify", again for each step down.
        allow_low_top1: deliver the model also if it is far less accurate than predicted.
        batch: images that the file is fixed to, or "dynamic"; None: as the device needs it.

    Raises:
        InputError: if the batch is another one than the device's.
        Infeasible: if no network meets the limits together.
        Unverified: if the model fails a check, or all networks tried missed the budget when timed.
    """
    intermediates = intermediates or MemoryBlobs()
    fixed = deliverable_batch(batch, context.table)
    bounded, limits = with_goal(context, limits, goal)
    budget, budgets = _budget(bounded, limits), dict(limits)
    too_slow: list[dict[str, Any]] = []
    for _ in range(1 + STEPS_DOWN):
        work = partial(_search, bounded, budgets, seed, goal, report, bool(too_slow))
        if (best := step("search", work))["arch"] is None:
            break
        arch = Arch.from_json(best["arch"])
        built = step("build", partial(_build, context, builder, arch, fixed, intermediates, report))
        verified_by = (context, builder, arch, built, budget, intermediates, artifacts, report)
        model = step("verify", partial(_verify, *verified_by, allow_low_top1))
        timed_ms = model["latency_ms"]
        outcome = None if timed_ms is None or budget is None else budget.outcome(timed_ms)
        if outcome != "missed":
            _check_size(model, limits)
            return _result(context, bounded, limits, goal, best, model, too_slow)
        too_slow.append({"arch": best["arch"], "latency_ms": timed_ms, "outcome": outcome})
        budgets["latency_ms"] = min(
            budgets["latency_ms"] * limits["latency_ms"] / timed_ms,
            math.nextafter(best["latency_ms"], 0.0),
        )
        # Below a lower limit there is nothing, nor below the fastest network of a target.
        fastest = goal.target is not None and goal.target.minimize in ("latency_ms", "energy_mj")
        if fastest or budgets["latency_ms"] < goal.minimums.get("latency_ms", 0.0):
            break
    raise _all_missed(too_slow, limits["latency_ms"])


def _result(
    context: DeploymentContext,
    bounded: DeploymentContext,
    limits: Mapping[str, float],
    goal: Goal,
    best: Mapping[str, Any],
    model: Mapping[str, Any],
    too_slow: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What is answered of a verified network."""
    arch = Arch.from_json(best["arch"])
    verified = {**model["findings"], **({"stepped_down": too_slow} if too_slow else {})}
    return {
        **bounded.describe(arch),
        **_explanation(context, arch, verified),
        "provenance": bounded.provenance(),
        "warnings": [
            *search_warnings(bounded, limits, arch, goal, verified),
            *model.get("warnings", []),
        ],
        **{"search": best["search"], "file": model.get("about")},
        **{name: model[name] for name in ("model_bytes", "sha256")},
    }


def _all_missed(too_slow: Sequence[Mapping[str, Any]], budget_ms: float) -> Unverified:
    number = len(too_slow)
    which = "the network" if number == 1 else f"all {number} networks"
    return Unverified(
        f"{which} predicted to meet {budget_ms:g} ms missed it on this host, the last with a p50 "
        f"of {too_slow[-1]['latency_ms']:.3g} ms: measure its table again "
        "(`subnet-search devices measure`), or ask for more"
    )


def _explanation(
    context: DeploymentContext, arch: Arch, verified: Mapping[str, Any]
) -> dict[str, Any]:
    """What the user can read of a verified network: its layers, its prices, what int8 changed."""
    int8 = {"int8": compare(context, arch, verified)} if context.precision == "int8" else {}
    return {
        "layers": describe_layers(context.bundle, context.table, arch),
        "prices": describe_prices(context, arch),
        "verified": verified,
        **int8,
    }


def _budget(bounded: DeploymentContext, limits: Mapping[str, float]) -> LatencyBudget | None:
    """What the measured p50 is judged by."""
    if (budget_ms := limits.get("latency_ms")) is None:
        return None
    assert bounded.table is not None
    stated_error = 0.0 if bounded.confidence else bounded.table.expected_error or 0.0
    return LatencyBudget(budget_ms, stated_error)


def _check_size(model: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    """Refuse a file that is too large: the search estimates its size.

    Raises:
        Unverified: if the file is larger than asked.
    """
    if model["model_bytes"] > limits.get("model_bytes", math.inf):
        raise Unverified(
            f"the finished file has {model['model_bytes']} bytes, expected at most "
            f"{limits['model_bytes']:.0f}: allow more bytes"
        )


def _search(
    context: DeploymentContext,
    limits: Mapping[str, float],
    seed: int,
    goal: Goal,
    report: Report,
    is_step_down: bool,
) -> dict[str, Any]:
    """A network within `limits`; of a step down, whose budget nobody asked for, perhaps none."""

    def half(step: str, share: float) -> None:
        report(step, 0.5 * share)

    try:
        best = run_search(context, limits, seed, goal, half)
    except Infeasible:
        if is_step_down:
            return {"arch": None}
        raise
    return {
        "arch": best.arch.to_json(),
        "latency_ms": best.costs["latency_ms"],
        "search": {
            "seed": best.seed,
            "effort": goal.effort,
            "evaluations": best.evaluations,
            "seconds": best.seconds,
        },
    }


def _build(
    context: DeploymentContext,
    builder: Callable[[], ModelBuilder],
    arch: Arch,
    batch: int | None,
    intermediates: BlobStore,
    report: Report,
) -> dict[str, Any]:
    built = builder().build(context, arch, precision=context.precision, batch=batch, report=report)
    logits = io.BytesIO()
    np.save(logits, built.logits, allow_pickle=False)
    return {
        "model": intermediates.put(built.model),
        "quantized": None if built.quantized is None else intermediates.put(built.quantized),
        "logits": intermediates.put(logits.getvalue()),
        "recalibrated": built.recalibrated,
        "batch": built.batch,
    }


def _verify(
    context: DeploymentContext,
    builder: Callable[[], ModelBuilder],
    arch: Arch,
    stored: Mapping[str, Any],
    budget: LatencyBudget | None,
    intermediates: BlobStore,
    artifacts: BlobStore,
    report: Report,
    allow_low_top1: bool,
) -> dict[str, Any]:
    """Verify what the build step stored."""
    quantized = stored.get("quantized")
    built = BuiltModel(
        model=intermediates.get(stored["model"]),
        quantized=None if quantized is None else intermediates.get(quantized),
        logits=np.load(io.BytesIO(intermediates.get(stored["logits"])), allow_pickle=False),
        recalibrated=stored["recalibrated"],
        batch=stored.get("batch"),
    )
    verified = builder().verify(
        context, arch, built, budget=budget, report=report, allow_low_top1=allow_low_top1
    )
    return {
        "warnings": list(verified.warnings),
        "findings": verified.findings,
        "about": verified.about,
        "latency_ms": verified.latency_ms,
        "model_bytes": len(verified.model),
        "sha256": artifacts.put(verified.model),
    }


def run_search(
    context: DeploymentContext,
    limits: Mapping[str, float],
    seed: int,
    goal: Goal = NO_GOAL,
    report: Report = lambda step, share: None,
) -> SearchResult:
    """The best network within `limits`, or the cheapest that reaches the goal's target; for the
    same seed always the same, and never worse than the device's front.

    Args:
        context: with the goal's frozen parts.
        report: told "front", where that is computed first, or "search", and the share done of both.

    Raises:
        Infeasible: if no network meets a limit.
    """
    space, predictor, costs = context.space, context.require_predictor(), context.costs
    before = 0.0

    def on_front(share: float) -> None:
        nonlocal before
        before = FRONT_SHARE
        report("front", FRONT_SHARE * share)

    def on_progress(progress: SearchProgress) -> None:
        report("search", before + (1 - before) * progress.share)

    known = context.known_networks(on_front)
    if goal.target is not None:
        return search_cheapest(
            space, predictor, costs, limits, goal.target, seed,
            minimums=goal.minimums, effort=goal.effort, known=known, on_progress=on_progress,
        )  # fmt: skip
    return search_subnet(
        space, predictor, costs, limits, seed,
        minimums=goal.minimums, effort=goal.effort, known=known, on_progress=on_progress,
    )  # fmt: skip

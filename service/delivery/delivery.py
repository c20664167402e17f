"""From limits to a model that meets them: search, make, check, time."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from models.spaces import Arch
from search.evolution import Progress, SearchResult, search_subnet
from service.catalog import DeploymentContext, describe_layers, describe_prices
from service.delivery.model_builder import Draft, Report, Unverified, Workshop
from service.delivery.quantization_report import compare

STEPS_DOWN = 3
"""Further searches, each under a tighter budget, after a model was timed above its budget."""


class Shelf(Protocol):
    """Keeps bytes by their sha256."""

    def put(self, content: bytes) -> str:
        """Keep them; returns their sha256."""
        ...

    def get(self, sha256: str) -> bytes:
        """What was kept."""
        ...


class Memory:
    """A shelf for as long as it is referred to."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        """Keep `content`."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._kept[sha256] = content
        return sha256

    def get(self, sha256: str) -> bytes:
        """What was kept."""
        return self._kept[sha256]


class Steps(Protocol):
    """Does the parts of a delivery, each by name. What a part answers is JSON, so that one that
    was done before can be answered from what was noted of it."""

    def __call__(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `work` answers, now or when it was done before."""
        ...


def at_once(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Steps that nothing is noted of."""
    return work()


def deliver(
    context: DeploymentContext,
    workshop: Callable[[], Workshop],
    limits: Mapping[str, float],
    seed: int,
    *,
    shelf: Shelf,
    drafts: Shelf | None = None,
    step: Steps = at_once,
    report: Report = lambda step, share: None,
) -> dict[str, Any]:
    """Search, build the model, verify it; where this host is the device, time it too.

    Args:
        limits: as `Constraints` has them, "latency_confidence" among them.
        workshop: called where the supernet is needed, which may be never.
        shelf: gets the model; the answer has its sha256.
        drafts: gets what lies between two steps; by default it is kept in memory.
        step: does the parts: "search", "build" and "verify", again for each step down.

    Raises:
        Infeasible: if no network meets the limits together.
        Unverified: if the model does not compute what the subnet does, or stays too slow.
    """
    drafts = drafts or Memory()
    bounded, limits = context.with_confidence(limits)
    given = dict(limits)
    too_slow: list[dict[str, Any]] = []

    for _ in range(1 + STEPS_DOWN):
        found = step("search", partial(_search, bounded, given, seed, report))
        arch = Arch.from_json(found["arch"])
        built = step("build", partial(_build, context, workshop, arch, drafts, report))
        check = partial(_verify, context, workshop, arch, built, drafts, shelf, report)
        made = step("verify", check)
        timed = made["latency_ms"]
        if timed is None or timed <= _tolerated_ms(context, limits):
            _check_size(made, limits)
            verified = {**made["findings"], **({"stepped_down": too_slow} if too_slow else {})}
            return {
                **bounded.describe(arch),
                "layers": describe_layers(context.bundle, context.table, arch),
                "prices": describe_prices(context, arch),
                "verified": verified,
                **(
                    {"int8": compare(context, arch, verified)}
                    if context.precision == "int8"
                    else {}
                ),
                "provenance": bounded.provenance(),
                "search": found["search"],
                "model_bytes": made["model_bytes"],
                "sha256": made["sha256"],
            }
        too_slow.append({"arch": found["arch"], "latency_ms": timed})
        given["latency_ms"] = min(
            given["latency_ms"] * limits["latency_ms"] / timed,
            math.nextafter(found["latency_ms"], 0.0),
        )
        bounded.check_limits(given)
    raise Unverified(
        f"{len(too_slow)} networks predicted to meet {limits['latency_ms']:g} ms were all slower "
        f"on this host, the last {too_slow[-1]['latency_ms']:.3g} ms: measure its table again "
        "(`subnet-search devices measure`), or ask for more"
    )


def _tolerated_ms(context: DeploymentContext, limits: Mapping[str, float]) -> float:
    """What a model may be timed at: the budget and, on top, the error that the answer states."""
    assert context.table is not None
    return limits.get("latency_ms", math.inf) * (1 + (context.table.expected_error or 0.0))


def _check_size(made: Mapping[str, Any], limits: Mapping[str, float]) -> None:
    """The search counts on float weights; a small network's scales can take more than int8 saves.

    Raises:
        Unverified: if the file is larger than asked.
    """
    if made["model_bytes"] > limits.get("model_bytes", math.inf):
        raise Unverified(
            f"the finished file has {made['model_bytes']} bytes, expected at most "
            f"{limits['model_bytes']:.0f}: ask for fp32, or for more bytes"
        )


def _search(
    context: DeploymentContext, limits: Mapping[str, float], seed: int, report: Report
) -> dict[str, Any]:
    found = run_search(context, limits, seed, lambda p: report("search", 0.5 * p.share))
    return {
        "arch": found.arch.to_json(),
        "latency_ms": found.costs["latency_ms"],
        "search": {
            "seed": found.seed,
            "evaluations": found.evaluations,
            "seconds": found.seconds,
        },
    }


def _build(
    context: DeploymentContext,
    workshop: Callable[[], Workshop],
    arch: Arch,
    drafts: Shelf,
    report: Report,
) -> dict[str, Any]:
    draft = workshop().build(context, arch, precision=context.precision, report=report)
    logits = io.BytesIO()
    np.save(logits, draft.logits, allow_pickle=False)
    return {
        "model": drafts.put(draft.model),
        "quantized": None if draft.quantized is None else drafts.put(draft.quantized),
        "logits": drafts.put(logits.getvalue()),
        "recalibrated": draft.recalibrated,
    }


def _verify(
    context: DeploymentContext,
    workshop: Callable[[], Workshop],
    arch: Arch,
    built: Mapping[str, Any],
    drafts: Shelf,
    shelf: Shelf,
    report: Report,
) -> dict[str, Any]:
    logits = np.load(io.BytesIO(drafts.get(built["logits"])), allow_pickle=False)
    quantized = built.get("quantized")
    draft = Draft(
        model=drafts.get(built["model"]),
        quantized=None if quantized is None else drafts.get(quantized),
        logits=logits,
        recalibrated=built["recalibrated"],
    )
    made = workshop().verify(context, arch, draft, report=report)
    return {
        "findings": made.findings,
        "latency_ms": made.latency_ms,
        "model_bytes": len(made.model),
        "sha256": shelf.put(made.model),
    }


def run_search(
    context: DeploymentContext,
    limits: Mapping[str, float],
    seed: int,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """The best network within `limits`, for the same seed always the same.

    Raises:
        Infeasible: if no network meets a limit.
    """
    predictor = context.require_predictor()
    return search_subnet(
        context.space, predictor, context.costs, limits, seed, on_progress=on_progress
    )

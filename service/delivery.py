"""From limits to a model that meets them: search, make, check, time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from latency_tables.table import LatencyTable
from models.arch import Arch
from models.bundle import Bundle
from models.plan import layer_plan
from search.run import SearchResult, search_subnet
from search.termination import Progress
from service.pairing import Pairing
from service.workshop import Report, Unverified, Verified, Workshop

STEPS_DOWN = 3
"""Further searches, each under a tighter budget, after a model was timed above its budget."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a search comes to."""

    result: dict[str, Any]
    model: bytes


def deliver(
    pairing: Pairing,
    workshop: Workshop,
    limits: Mapping[str, float],
    seed: int,
    *,
    report: Report = lambda step, share: None,
) -> Delivered:
    """Search, make the model, check it; where this host is the device, time it too.

    Raises:
        Infeasible: if no network meets the limits together.
        Unverified: if the model does not compute what the subnet does, or stays too slow.
    """
    given = dict(limits)
    too_slow: list[dict[str, Any]] = []
    for _ in range(1 + STEPS_DOWN):
        found = run_search(pairing, given, seed, lambda p: report("search", 0.5 * p.share))
        made = workshop.make(pairing, found.arch, report=report)
        timed = made.latency_ms
        if timed is None or timed <= limits.get("latency_ms", math.inf):
            if too_slow:
                made.findings["stepped_down"] = too_slow
            return Delivered(_result(pairing, found, made), made.model)
        too_slow.append({"arch": found.arch.to_json(), "latency_ms": timed})
        given["latency_ms"] = min(
            given["latency_ms"] * limits["latency_ms"] / timed,
            math.nextafter(found.costs["latency_ms"], 0.0),
        )
        pairing.check_limits(given)
    raise Unverified(
        f"{len(too_slow)} networks predicted to meet {limits['latency_ms']:g} ms were all slower "
        f"on this host, the last {too_slow[-1]['latency_ms']:.3g} ms: measure its table again "
        "(`subnet-search devices measure`), or ask for more"
    )


def run_search(
    pairing: Pairing,
    limits: Mapping[str, float],
    seed: int,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """The best network within `limits`, for the same seed always the same.

    Raises:
        Infeasible: if no network meets a limit.
    """
    predictor = pairing.require_predictor()
    return search_subnet(
        pairing.space, predictor, pairing.costs, limits, seed, on_progress=on_progress
    )


def _result(pairing: Pairing, found: SearchResult, made: Verified) -> dict[str, Any]:
    return {
        **pairing.describe(found.arch),
        "layers": describe_layers(pairing.bundle, pairing.table, found.arch),
        "verified": made.findings,
        "provenance": pairing.provenance(),
        "search": {
            "seed": found.seed,
            "evaluations": found.evaluations,
            "seconds": found.seconds,
            "certificate": found.certificate.to_json(),
        },
        "model_bytes": len(made.model),
    }


def describe_layers(bundle: Bundle, table: LatencyTable | None, arch: Arch) -> list[dict[str, Any]]:
    """Each layer with its shape and costs, image to logits."""
    return [
        {
            **asdict(layer),
            "out_size": layer.out_size,
            "latency_ms": None if table is None else table.layer_ms(layer),
            "macs": layer.macs,
            "params": layer.params,
        }
        for layer in layer_plan(bundle.space, arch)
    ]

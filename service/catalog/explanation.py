"""Explanations of a network: each layer's share of the latency, and what each choice costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latency_tables.table import LatencyTable
from models.bundle import Bundle
from models.spaces import Arch, architecture_svg, layer_plan
from search.costs import CostModel
from search.sensitivity import Change, MoreTime, changes, grow_first, more_time, shrink_first
from service.catalog.deployment_context import DeploymentContext, describe_layer
from service.catalog.fronts import FrontStore

LISTED = 10
"""Changes in an answer, the most favourable first."""


def explain(home: Path, context: DeploymentContext, arch: Arch) -> dict[str, Any]:
    """One network of a supernet on a device: its layers, the prices of its choices, and what
    more time would buy.

    Args:
        home: the installation, which keeps fronts.

    Raises:
        InputError: if the network is not in the space, or there is no accuracy predictor.
        NotFound: if the device's table lacks one of its layers.
    """
    context.bundle.space.validate(arch)
    front = FrontStore.of(home).get(context)
    described = context.describe(arch)
    described.pop("latency_upper_ms", None)  # is in the answers about budgets alone
    prices = describe_prices(context, arch)
    table = context.table
    assert table is not None
    return {
        **described,
        "layers": describe_layers(context.bundle, table, arch),
        "network_overhead_ms": table.network_overhead_ms,
        "prices": prices,
        "more_time": [_time(t) for t in more_time(context.space, front, described["latency_ms"])],
        "provenance": context.provenance(),
    }


def describe_layers(bundle: Bundle, table: LatencyTable | None, arch: Arch) -> list[dict[str, Any]]:
    """Each layer with its shape and costs, image to logits.

    `latency_share` and `macs_share` are fractions of the sums over all layers.
    """
    plan = layer_plan(bundle.space, arch)
    layers = [describe_layer(layer, table) for layer in plan]
    macs = sum(layer["macs"] for layer in layers)
    total_ms = None if table is None else sum(layer["latency_ms"] for layer in layers)
    return [
        {
            **layer,
            "latency_share": total_ms and layer["latency_ms"] / total_ms,
            "macs_share": layer["macs"] / macs,
        }
        for layer in layers
    ]


def describe_prices(context: DeploymentContext, arch: Arch) -> dict[str, Any]:
    """What single changes of a network save and lose, and spend and gain.

    Raises:
        InputError: if the network's resolution is not one that can be searched, or there is no
            accuracy predictor.
    """
    latency = context.costs["latency_ms"]
    assert isinstance(latency, CostModel)
    found = changes(context.space, context.require_predictor(), latency, arch)
    return {
        "shrink_first": _list(shrink_first(found)),
        "grow_first": _list(grow_first(found)),
        "origin": "predicted",
        "method": "every network one block, depth, width or resolution away, judged by the "
        "accuracy predictor and the device's table; the best change of each",
    }


def picture(context: DeploymentContext, arch: Arch) -> str:
    """The network as SVG, with each layer's share of the latency if there is a table.

    Raises:
        InputError: if the network is not in the space.
        NotFound: if the device's table lacks one of its layers.
    """
    space, table = context.bundle.space, context.table
    latency_ms = None
    if table is not None:
        latency_ms = {layer.name: table.layer_ms(layer) for layer in layer_plan(space, arch)}
    return architecture_svg(space, arch, latency_ms)


def _list(found: Sequence[Change]) -> list[dict[str, Any]]:
    return [
        {
            "unit": change.unit,
            "change": change.change,
            "extra_ms": change.extra_ms,
            "gain": change.gain,
            "points_per_ms": change.points_per_ms,
            "arch": change.arch.to_json(),
        }
        for change in found[:LISTED]
    ]


def _time(step: MoreTime) -> dict[str, Any]:
    return {**asdict(step), "arch": step.arch.to_json()}

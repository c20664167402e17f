"""Fleets of devices by name: what `subnet-search fleet` answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.bundle import PREDICTOR
from models.errors import InputError
from search.costs import CostModel
from search.fleet import Fleet, Member, Share, search_fleet, search_shared
from search.predictors import load_predictor
from service.catalog.catalog import Catalog
from service.catalog.deployment_context import DeploymentContext


def plan_fleet(
    catalog: Catalog,
    supernet: str,
    budgets_ms: Mapping[str, float],
    loss: float | None,
    seed: int,
    on_search: Callable[[int, int], None] = lambda done, most: None,
) -> dict[str, Any]:
    """Networks of a supernet for devices with a budget each, as plain data.

    Args:
        budgets_ms: by device.
        loss: points that a device may lose to its own best network; None: one network for all.

    Raises:
        NotFound: if there is no such supernet or device.
        InputError: if the devices' tables have no resolution in common.
        Infeasible: if a budget cannot be met, or, with one network, all of them together.
    """
    contexts = {device: catalog.context(supernet, device) for device in budgets_ms}
    if not contexts:
        raise InputError("fleet: expected at least one device with a budget, such as host=1.5")
    first = next(iter(contexts.values()))
    common = set.intersection(*(set(p.space.resolutions) for p in contexts.values()))
    if not common:
        valid = {device: list(p.space.resolutions) for device, p in contexts.items()}
        raise InputError(f"fleet: expected tables with a resolution in common, got {valid}")
    space = first.bundle.space.at(common)
    first.require_predictor()
    with first.bundle.pinned(PREDICTOR) as path:
        predictor = load_predictor(path, space)
    members = {}
    for device, context in contexts.items():
        latency = context.costs["latency_ms"].at(space)
        assert isinstance(latency, CostModel)
        members[device] = Member(latency, budgets_ms[device])
    if loss is None:
        result = search_shared(space, predictor, members, seed)
        fleet = Fleet(shares=(Share(result=result, loss={}),), searches=1)
        served = [list(members)]
    else:
        fleet = search_fleet(space, predictor, members, loss, seed, on_search)
        served = [list(share.loss) for share in fleet.shares]
    return {
        "networks": [
            _network(share, {device: members[device] for device in devices}, contexts)
            for share, devices in zip(fleet.shares, served, strict=True)
        ],
        "loss_allowed": loss,
        "seed": seed,
        "searches": fleet.searches,
        "provenance": {device: context.provenance() for device, context in contexts.items()},
    }


def _network(
    share: Share, members: Mapping[str, Member], contexts: Mapping[str, DeploymentContext]
) -> dict[str, Any]:
    """One network, and how it does on each device that gets it."""
    latency_ms = {
        device: float(member.latency.evaluate(share.result.genes[None])[0])
        for device, member in members.items()
    }
    return {
        "arch": share.result.arch.to_json(),
        "top1": share.result.top1,
        "devices": {
            device: {
                "latency_ms": latency_ms[device],
                "batch": contexts[device].batch,
                "runtime": contexts[device].runtime,
                "latency_ms_per_image": latency_ms[device] / contexts[device].batch,
                "budget_ms": member.budget_ms,
                "loss": share.loss.get(device),
            }
            for device, member in members.items()
        },
    }

"""What a user should know before trusting what a search answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.spaces import Arch
from search.costs import registered_limits
from search.evolution import search_subnet
from search.target import Target
from service.catalog.deployment_context import DeploymentContext
from service.catalog.goal import Goal

POOR_SPEARMAN = 0.8
"""Rank correlation below which the best predicted network is often not the best."""
SLACK = 0.01
"""Share of a budget that may be left over before it counts as not used up."""


def search_warnings(
    context: DeploymentContext,
    limits: Mapping[str, float],
    arch: Arch,
    goal: Goal | None = None,
    verified: Mapping[str, Any] | None = None,
) -> list[str]:
    """Sentences about one search.

    Args:
        context: with the confidence and the frozen parts that were asked, if they were.
        limits: the budgets, by limit.
        arch: the network found.
        goal: what else was asked for.
        verified: what was measured of the file.
    """
    target = None if goal is None else goal.target
    about = (
        budget_warnings(context, limits, arch)
        if target is None
        else target_warnings(context, target, verified or {})
    )
    return [*about, *predictor_warnings(context)]


def target_warnings(
    context: DeploymentContext, target: Target, verified: Mapping[str, Any]
) -> list[str]:
    """A target is met by the prediction; how far that may be off, and what was measured."""
    error = context.top1_error
    expected = "is not known" if error is None else f"is {error:.3g} points"
    found = [f"top1 {target.top1:g} is met as predicted; the expected error of that {expected}"]
    measured = (verified.get("top1") or {}).get("value")
    if measured is not None and measured < target.top1:
        found.append(
            f"the measured top1 of {measured:.2f} is below the target of {target.top1:g}: ask for "
            "more to be on the safe side"
        )
    return found


def predictor_warnings(context: DeploymentContext) -> list[str]:
    """What weakens predicted accuracies: a poor ranking, errors that are not known for networks
    that searches find."""
    origin, found = context.require_predictor().provenance, []
    unseen = context.bundle.card.get("predictor", {}).get("unseen")
    if unseen is not None:
        spearman, sample = unseen["spearman"], f"{unseen['count']} unseen networks"
    else:
        spearman, sample = origin.spearman, f"{origin.count} measured networks"
    if spearman is not None and spearman < POOR_SPEARMAN:
        found.append(
            f"the accuracy predictor ranks networks poorly (Spearman {spearman:.3f} on {sample}, "
            f"expected at least {POOR_SPEARMAN:g}): another network may be the better one; measure "
            f"more (`subnet-search supernets collect {context.bundle.name}`)"
        )
    if origin.found is None:
        error = "unknown" if origin.rmse is None else "that of networks drawn at random"
        found.append(
            f"the error of top1 is {error}: no network that a search found was measured, and those "
            "usually have less than predicted"
        )
    return found


def budget_warnings(
    context: DeploymentContext, limits: Mapping[str, float], arch: Arch
) -> list[str]:
    """Budgets that no longer limit: above the largest network, or above the most accurate one."""
    ceilings = {name: context.costs[name].ceiling() for name in limits}
    found = [
        f"{name} {limits[name]:g} no longer limits: no network of this supernet needs more than "
        f"{quantity(name, ceilings[name])}"
        for name in limits
        if limits[name] >= ceilings[name]
    ]
    if limits and not found and _is_best_of_all(context, limits, arch):
        genes = context.space.encode([arch])
        needs = ", ".join(
            f"{quantity(name, float(context.costs[name].evaluate(genes)[0]))} of {limits[name]:g}"
            for name in limits
        )
        found.append(
            "the budgets no longer limit: the most accurate network that is found without any "
            f"needs {needs}"
        )
    return found


def _is_best_of_all(context: DeploymentContext, limits: Mapping[str, float], arch: Arch) -> bool:
    """Whether a search without limits finds nothing better; asked only where `arch` leaves more
    than `SLACK` of every budget over."""
    genes, predictor = context.space.encode([arch]), context.require_predictor()
    for name, budget in limits.items():
        if context.costs[name].evaluate(genes)[0] > (1 - SLACK) * budget:
            return False
    known = context.known_networks()
    best = search_subnet(context.space, predictor, {}, {}, seed=0, known=known)
    return best.top1 <= float(predictor.predict(genes)[0])


def quantity(name: str, value: float) -> str:
    """A value of a limit with its unit, for people."""
    limit = registered_limits()[name]
    number = f"{value:.0f}" if limit.is_integer else f"{value:.4g}"
    return " ".join(filter(None, (number, limit.unit, limit.noun)))

"""What a search is asked for beside upper limits, and how shares and ranges become units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.errors import Infeasible, InputError
from models.spaces import Frozen
from search.costs import registered_limits
from search.evolution import DEFAULT_EFFORT, Effort
from search.target import Target, check_target
from service.catalog.deployment_context import CONFIDENCE, DeploymentContext, OnShare
from service.contracts import read_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Lower limits, a target accuracy, frozen parts, by default none, and the effort."""

    minimums: Mapping[str, float] = field(default_factory=dict)
    """By name of the limit, in its unit."""
    target: Target | None = None
    """Instead of the most accurate network the cheapest that is so accurate."""
    frozen: Frozen = field(default_factory=dict)
    """As `models.spaces.read_frozen` gives it."""
    effort: Effort = DEFAULT_EFFORT
    """How much is evaluated."""

    @classmethod
    def of_request(cls, request: Mapping[str, Any]) -> Goal:
        """That of a stored request."""
        target = request.get("target")
        return cls(
            minimums=request.get("minimums", {}),
            target=None if target is None else Target(**target),
            frozen=request.get("frozen") or {},
            effort=request.get("effort") or DEFAULT_EFFORT,
        )

    def to_request(self) -> dict[str, Any]:
        """Fields of a stored request; those that say nothing are left out."""
        target = self.target
        return {
            **({"minimums": dict(self.minimums)} if self.minimums else {}),
            **({"frozen": dict(self.frozen)} if self.frozen else {}),
            **(
                {}
                if target is None
                else {"target": {"top1": target.top1, "minimize": target.minimize}}
            ),
            **({} if self.effort == DEFAULT_EFFORT else {"effort": self.effort}),
        }


def resolve_limits(
    context: DeploymentContext, given: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Upper and lower limits in their units.

    Args:
        given: by name a number, a share or a range, as requests have them
            (`service.contracts.LimitValue`), and "latency_confidence".

    Raises:
        InputError: if a quantity is unknown on this device, or a range is empty.
    """
    confidence = {CONFIDENCE: given[CONFIDENCE]} if CONFIDENCE in given else {}
    context, named = context.with_confidence(given)
    limits: dict[str, float] = {}
    minimums: dict[str, float] = {}
    for name, value in named.items():
        ends = value if isinstance(value, Mapping) else {"max": value}
        for end, into in (("max", limits), ("min", minimums)):
            if (bound := ends.get(end)) is not None:
                into[name] = _in_units(context, name, bound)
        if name in minimums and minimums[name] > limits.get(name, np.inf):
            raise InputError(
                f"constraints.{name}: expected min up to max, got {minimums[name]:.6g} to "
                f"{limits[name]:.6g}"
            )
    return {**limits, **confidence}, minimums


def _in_units(context: DeploymentContext, name: str, value: float | str) -> float:
    if not isinstance(value, str):
        return value
    context.require_known(name)
    return read_share(value) * context.costs[name].ceiling()


def with_goal(
    context: DeploymentContext, limits: Mapping[str, float], goal: Goal
) -> tuple[DeploymentContext, dict[str, float]]:
    """The context and the limits to search with: confidence and frozen parts are in the context.

    Raises:
        InputError: if too few networks were measured for the confidence, or a frozen part is none
            of this supernet's.
    """
    bounded, given = context.with_confidence(limits)
    return bounded.with_frozen(goal.frozen), given


def check_goal(
    context: DeploymentContext,
    limits: Mapping[str, float],
    goal: Goal,
    on_share: OnShare = lambda _: None,
) -> None:
    """Refuse what no network can meet, and a target that the search for it would not reach.

    Args:
        context, limits: from `with_goal`.
        on_share: as `DeploymentContext.known_networks` takes it.

    Raises:
        Infeasible: with the floor of the limit that binds, or the largest possible value.
        InputError: if the supernet cannot be searched, or a quantity is unknown on this device.
    """
    try:
        context.check_limits(limits, goal.minimums)
        if goal.target is not None:
            _check_minimized(context, goal.target)
            problem = context.problem(limits, goal.minimums)
            check_target(problem, goal.target, lambda: context.known_networks(on_share))
    except Infeasible as error:
        if goal.frozen:
            error.noted("Only the networks that the frozen parts leave count")
        raise


def _check_minimized(context: DeploymentContext, target: Target) -> None:
    if target.minimize not in registered_limits():
        names = ", ".join(context.costs)
        raise InputError(f"target.minimize: expected one of {names}, got {target.minimize!r}")
    context.require_known(target.minimize)


def prepare_goal(
    context: DeploymentContext,
    given: Mapping[str, Any],
    asked: Mapping[str, Any],
    on_share: OnShare = lambda _: None,
) -> tuple[dict[str, float], Goal]:
    """Upper limits in their units and the goal of a request that can be met.

    Args:
        given, asked: limits, and target, frozen parts and effort, as requests have them.
        on_share: as `DeploymentContext.known_networks` takes it.

    Raises:
        Infeasible, InputError: as `resolve_limits`, `with_goal` and `check_goal`.
    """
    limits, minimums = resolve_limits(context, given)
    goal = Goal.of_request({**asked, "minimums": minimums})
    check_goal(*with_goal(context, limits, goal), goal, on_share)
    return limits, goal

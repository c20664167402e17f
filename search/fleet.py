"""Networks for many devices: one for all of them, or the fewest that serve each well enough.

Every device has a latency model and a budget of its own, so one network for several is a search
under several limits. A device is *served* by a network that meets its budget and is predicted at
most `loss` points below the best found for that device alone.

A set of devices that one network serves stays served when devices leave it, so sets are grown:
two of the sets in use are joined where one search can serve both, until no two can be.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.errors import Infeasible, InputError
from models.spaces import SearchSpace
from search.costs import CostModel
from search.evolution import SearchResult, search_subnet
from search.predictors import AccuracyPredictor

EXACT_COVER = 16
"""Devices up to which the fewest networks of those found are chosen exactly."""


@dataclass(frozen=True, slots=True)
class Member:
    """A device of the fleet."""

    latency: CostModel
    """Milliseconds on it; all members' over one space."""
    budget_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One network and the devices that it is for."""

    result: SearchResult
    loss: Mapping[str, float]
    """By device: points that its own best network is predicted to have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Networks that serve every device."""

    shares: tuple[Share, ...]
    own_top1: Mapping[str, float]
    """By device: predicted accuracy of the best network found for it alone, percent."""
    searches: int


def search_shared(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    members: Mapping[str, Member],
    seed: int,
) -> SearchResult:
    """The most accurate network that meets the budget of every member.

    Raises:
        InputError: if there is no member, or a budget is not a positive number.
        Infeasible: if no network meets them all; limits are named "latency_ms@device".
    """
    if not members:
        raise InputError("fleet: expected at least one device with a budget")
    costs = {f"latency_ms@{name}": member.latency for name, member in members.items()}
    limits = {f"latency_ms@{name}": member.budget_ms for name, member in members.items()}
    return search_subnet(space, predictor, costs, limits, seed)


def search_fleet(
    space: SearchSpace,
    predictor: AccuracyPredictor,
    members: Mapping[str, Member],
    loss: float,
    seed: int,
    on_search: Callable[[int, int], None] = lambda done, most: None,
) -> Fleet:
    """The fewest networks found that serve every member within `loss`.

    Args:
        loss: points of predicted accuracy that a device may give up.
        on_search: called at every search with how many were begun and the most there can be.

    Raises:
        InputError: if there is no member, or `loss` or a budget is not a number that it can be.
        Infeasible: if a member's budget is below its floor.
    """
    if not (math.isfinite(loss) and loss >= 0):
        raise InputError(f"loss: expected 0 or more percentage points, got {loss}")
    planner = _Planner(space, predictor, members, loss, seed, on_search)
    for _ in members:  # every join leaves one set less
        if not planner.join_two():
            break
    return planner.fleet()


class _Planner:
    """The networks found so far and what is known about sets of devices."""

    def __init__(
        self,
        space: SearchSpace,
        predictor: AccuracyPredictor,
        members: Mapping[str, Member],
        loss: float,
        seed: int,
        on_search: Callable[[int, int], None],
    ) -> None:
        self.space, self.predictor, self.members = space, predictor, members
        self.loss, self.seed, self.on_search = loss, seed, on_search
        self.tried: set[frozenset[str]] = set()
        self.found: list[SearchResult] = []
        self.own: dict[str, float] = {}
        for name in members:
            self._search(frozenset([name]))
        # A network found for one device may be better for another than the other's own.
        for name in members:
            self.own[name] = max(r.top1 for r in self.found if self._meets(r, name))

    def join_two(self) -> bool:
        """Find one network that serves two of the sets in use; false if there is none."""
        sets = [frozenset(self._served(result)) for result in self._chosen()]
        pairs = itertools.combinations(sets, 2)
        for union in sorted({a | b for a, b in pairs} - self.tried, key=self._unlike):
            result = self._search(union)
            if result is not None and union <= set(self._served(result)):
                return True
        return False

    def fleet(self) -> Fleet:
        """Each device with the best of the networks chosen that serve it."""
        chosen = self._chosen()
        taken: list[dict[str, float]] = [{} for _ in chosen]
        for name, own in self.own.items():
            able = [i for i, result in enumerate(chosen) if name in self._served(result)]
            best = max(able, key=lambda i: chosen[i].top1)
            taken[best][name] = max(0.0, own - chosen[best].top1)
        shares = (Share(result=r, loss=loss) for r, loss in zip(chosen, taken, strict=True) if loss)
        return Fleet(shares=tuple(shares), own_top1=self.own, searches=len(self.tried))

    def _search(self, names: frozenset[str]) -> SearchResult | None:
        self.tried.add(names)
        # One search a device, and at most two a pair: its own, and of sets that grew from it.
        self.on_search(len(self.tried), len(self.members) ** 2)
        group = {name: member for name, member in self.members.items() if name in names}
        try:
            result = search_shared(self.space, self.predictor, group, self.seed)
        except Infeasible:
            if len(names) == 1:
                raise
            return None
        self.found.append(result)
        return result

    def _meets(self, result: SearchResult, name: str) -> bool:
        member = self.members[name]
        return float(member.latency.evaluate(result.genes[None])[0]) <= member.budget_ms

    def _served(self, result: SearchResult) -> list[str]:
        return [
            name
            for name, own in self.own.items()
            if result.top1 >= own - self.loss and self._meets(result, name)
        ]

    def _unlike(self, names: frozenset[str]) -> tuple[float, list[str]]:
        """Devices whose own networks are about as accurate share one most easily."""
        own = [self.own[name] for name in names]
        return max(own) - min(own), sorted(names)

    def _chosen(self) -> list[SearchResult]:
        served = [frozenset(self._served(result)) for result in self.found]
        chosen = fewest_covering(served, frozenset(self.members))
        return [self.found[index] for index in chosen]


def fewest_covering(sets: Sequence[frozenset[str]], whole: frozenset[str]) -> list[int]:
    """Indices of sets that cover `whole`, which their union does: the fewest up to
    `EXACT_COVER` elements, greedily chosen beyond."""
    if len(whole) > EXACT_COVER:
        return _greedy_cover(sets, whole)
    reached: dict[frozenset[str], list[int]] = {frozenset(): []}
    while whole not in reached:  # at most one round an element
        following: dict[frozenset[str], list[int]] = {}
        for covered, indices in reached.items():
            first = min(whole - covered)  # some set has to cover it
            for index, names in enumerate(sets):
                if first in names:
                    following.setdefault(covered | names, [*indices, index])
        reached = following
    return reached[whole]


def _greedy_cover(sets: Sequence[frozenset[str]], whole: frozenset[str]) -> list[int]:
    chosen: list[int] = []
    left = whole
    while left:
        chosen.append(max(range(len(sets)), key=lambda index: len(sets[index] & left)))
        left -= sets[chosen[-1]]
    return chosen

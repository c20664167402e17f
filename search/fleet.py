"""Networks for a fleet of devices: one for all of them, or the fewest that serve each well enough.

Every device has a latency model and a budget of its own, so one network for several devices is a
search under several limits. A network *serves* a device if it meets the device's budget and its
predicted accuracy is at most `loss` points below the best found for that device alone.

Sets of devices are merged greedily: two sets in use become one where a search finds a network that
serves both, until no two can be merged.
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
    """Milliseconds on the device; all members' models are of one space."""
    budget_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One network and the devices that it serves."""

    result: SearchResult
    loss: Mapping[str, float]
    """By device: points below the best network found for that device, as predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Networks that serve every device."""

    shares: tuple[Share, ...]
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
        loss: points of predicted accuracy that a device may lose.
        on_search: called before each search with its number and the largest possible number.

    Raises:
        InputError: if there is no member, or `loss` or a budget is out of range.
        Infeasible: if a member's budget is below its floor.
    """
    if not (math.isfinite(loss) and loss >= 0):
        raise InputError(f"loss: expected 0 or more percentage points, got {loss}")
    planner = _Planner(space, predictor, members, loss, seed, on_search)
    for _ in members:  # every merge leaves one set less
        if not planner.merge_two():
            break
    return planner.fleet()


class _Planner:
    """The networks found so far, and the sets of devices tried."""

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
        self.results: list[SearchResult] = []
        self.own: dict[str, float] = {}
        for name in members:
            self._search(frozenset([name]))
        # A network found for one device may be better for another device than its own.
        for name in members:
            self.own[name] = max(r.top1 for r in self.results if self._meets(r, name))

    def merge_two(self) -> bool:
        """Find one network that serves two of the sets in use; False if there is none."""
        sets = [frozenset(self._served(result)) for result in self._chosen()]
        pairs = itertools.combinations(sets, 2)
        for union in sorted({a | b for a, b in pairs} - self.tried, key=self._difference):
            result = self._search(union)
            if result is not None and union <= set(self._served(result)):
                return True
        return False

    def fleet(self) -> Fleet:
        """Assign to each device the best of the chosen networks that serve it."""
        chosen = self._chosen()
        losses: list[dict[str, float]] = [{} for _ in chosen]
        for name, own in self.own.items():
            able = [i for i, result in enumerate(chosen) if name in self._served(result)]
            best = max(able, key=lambda i: chosen[i].top1)
            losses[best][name] = max(0.0, own - chosen[best].top1)
        shares = (
            Share(result=r, loss=loss) for r, loss in zip(chosen, losses, strict=True) if loss
        )
        return Fleet(shares=tuple(shares), searches=len(self.tried))

    def _search(self, names: frozenset[str]) -> SearchResult | None:
        self.tried.add(names)
        # One search for each device, and at most two for each pair.
        self.on_search(len(self.tried), len(self.members) ** 2)
        group = {name: member for name, member in self.members.items() if name in names}
        try:
            result = search_shared(self.space, self.predictor, group, self.seed)
        except Infeasible:
            if len(names) == 1:
                raise
            return None
        self.results.append(result)
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

    def _difference(self, names: frozenset[str]) -> tuple[float, list[str]]:
        """Sort key: devices with networks of similar accuracy are the likeliest to share one."""
        own = [self.own[name] for name in names]
        return max(own) - min(own), sorted(names)

    def _chosen(self) -> list[SearchResult]:
        served = [frozenset(self._served(result)) for result in self.results]
        chosen = fewest_covering(served, frozenset(self.members))
        return [self.results[index] for index in chosen]


def fewest_covering(sets: Sequence[frozenset[str]], whole: frozenset[str]) -> list[int]:
    """Indices of sets whose union is `whole`: the fewest up to `EXACT_COVER` elements, beyond that
    a greedy choice. The union of all sets has to be `whole`."""
    if len(whole) > EXACT_COVER:
        return _greedy_cover(sets, whole)
    reached: dict[frozenset[str], list[int]] = {frozenset(): []}
    while whole not in reached:  # at most one round for each element
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

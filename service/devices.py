"""Devices as the service sees them: by name, posted, or inline in a request."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_tables.store import DeviceRegistry, parse_profile
from latency_tables.table import LatencyTable, space_layers
from models.errors import NotFound
from models.mobile import MobileSpace
from models.plan import layer_plan
from models.space import SearchSpace

NOISY = 0.25
"""A standard deviation above this share of the median is reported."""


class Devices:
    """The devices of one installation."""

    def __init__(self, home: Path) -> None:
        self._registry = DeviceRegistry(home)

    def names(self) -> list[str]:
        """All names, sorted."""
        return self._registry.names()

    def tables(self, name: str) -> list[LatencyTable]:
        """The tables of a device, one a space.

        Raises:
            NotFound: with the nearest known name.
        """
        return list(self._registry.get(name).tables.values())

    def add(self, table: LatencyTable, *, replace: bool = False) -> None:
        """Keep a table under its device's name.

        Raises:
            Conflict: if that device has a table for that space and `replace` is false.
        """
        self._registry.add(table, replace=replace)

    def resolve(self, device: str | Mapping[str, Any] | None, space: str) -> LatencyTable | None:
        """The table of a device for `space`: stored under a name, or in an inline profile.

        Raises:
            NotFound: if there is no such device, or it has no table for `space`.
            InputError: if the profile does not hold.
        """
        if device is None:
            return None
        if isinstance(device, Mapping):
            return parse_profile(device)
        tables = {table.space: table for table in self.tables(device)}
        if space not in tables:
            raise NotFound(
                f"device {device!r} has no latency table for space {space!r}; it has them for: "
                f"{', '.join(tables)}. Measure one with `subnet-search devices measure`"
            )
        return tables[space]


def lint(table: LatencyTable, space: SearchSpace | None) -> list[str]:
    """What is suspicious about a table; nothing found is no proof.

    Args:
        space: the space it is for, if known: then also missing layers, and larger kernels that
            are faster than smaller ones by more than the noise.
    """
    findings = []
    noisy = [
        key for key, entry in sorted(table.entries.items()) if entry.std_ms > NOISY * entry.p50_ms
    ]
    if noisy:
        findings.append(
            f"{len(noisy)} of {len(table.entries)} layers vary by more than {NOISY:.0%} "
            f"between repetitions, first {noisy[0]}"
        )
    if table.expected_error is None:
        findings.append("no whole network was timed, so its error is unknown")
    if space is None:
        return findings
    if missing := table.missing(space):
        findings.append(f"{len(missing)} layers of the space are missing, first {missing[0]}")
    else:
        findings += _order(table, table.covered(space))
    return findings + _unit(table, space)


def _unit(table: LatencyTable, space: SearchSpace) -> list[str]:
    """Microseconds or seconds that were posted as milliseconds show in the speed they imply."""
    speeds = [
        layer.macs / 1e6 / entry.p50_ms
        for layer in space_layers(space).values()
        if (entry := table.entry(layer)) and layer.kind in ("mbconv", "bottleneck")
    ]
    gmacs = statistics.median(speeds) if speeds else 1.0
    if 0.01 <= gmacs <= 100_000:
        return []
    return [f"the median block would run at {gmacs:.3g} GMAC/s: are the times milliseconds?"]


def _order(table: LatencyTable, space: SearchSpace) -> list[str]:
    odd: list[str] = []
    if not isinstance(space, MobileSpace):
        return odd
    for resolution, expand in itertools.product(space.resolutions, space.expands):
        plans = [layer_plan(space, space.uniform(resolution, -1, k, expand)) for k in space.kernels]
        for smaller, larger in itertools.pairwise(plans):
            for less, more in zip(smaller, larger, strict=True):
                low, high = table.entry(less), table.entry(more)
                assert low is not None  # nothing is missing
                assert high is not None
                if high.p50_ms + high.std_ms < low.p50_ms - low.std_ms:
                    odd.append(f"{more.key} than {less.key}")
    if not odd:
        return []
    return [f"{len(odd)} times a larger kernel is faster by more than the noise, first {odd[0]}"]

"""The supernets and devices of this installation, and the deployment contexts made of them.

The API, the workers and the command line all use it, so their numbers cannot differ.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from latency_tables.fitting import parse_head, parse_profile
from latency_tables.table import Finding, LatencyTable, check, lint
from models.bundle import PREDICTOR, Bundle, BundleRegistry
from models.errors import InputError, NotFound
from models.spaces import SearchSpace, published_spaces
from service.catalog.deployment_context import DeploymentContext
from service.catalog.devices import Devices, KeptTable, OpenStore, store_opener
from service.catalog.fronts import FrontStore
from service.contracts import Caller, check_finished
from service.settings import Settings

if TYPE_CHECKING:
    from service.storage import Revision

CONTEXTS_KEPT = 8
"""Compiled deployment contexts kept in memory."""
FINDINGS_KEPT = 256
"""Tables whose findings are kept."""


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of a process without a service; see `store_opener`."""
    return Catalog(settings.home, store_opener(settings))


class Catalog:
    """The supernets and devices of this installation; deployment contexts are
    compiled once and kept."""

    def __init__(self, home: Path, open_store: OpenStore | None = None) -> None:
        """
        Args:
            open_store: as `Devices` takes it.
        """
        self.home = home
        self.supernets = BundleRegistry(home)
        self.devices = Devices(open_store)
        self._contexts: dict[tuple[object, ...], DeploymentContext] = {}
        self._findings: dict[tuple[str, SearchSpace | None], tuple[Finding, ...]] = {}
        self._lock = Lock()

    def seen_by(self, caller: Caller) -> Catalog:
        """The same catalog with the devices that `caller` may see; compiled contexts are shared
        between callers, because their keys are hashes of the tables."""
        seen = copy.copy(self)
        seen.devices = self.devices.seen_by(caller)
        return seen

    def context(
        self,
        supernet: str,
        device: str | Mapping[str, Any] | None,
        precision: str | None = None,
        runtime: str | None = None,
    ) -> DeploymentContext:
        """A supernet on a device (by name, as an inline profile, or none).

        Args:
            precision: of the device's table, as `Devices.kept` takes it.
            runtime: which the device's table must be of; None: any.

        Raises:
            NotFound: if there is no such supernet, device, or table of that device.
            InputError: if the profile or its table does not fit the supernet, or the table is of
                another runtime.
            BadTable: if the profile's table does not hold.
        """
        bundle = self.supernets.get(supernet)
        if isinstance(device, Mapping):
            table = self.read_profile(device)
            check_runtime(table, runtime, supernet)
            check(table, bundle.space if table.space == bundle.space.name else None)
            return self.context_of(bundle, table, self._float_table(table, table.device))
        if device is None:
            return self.context_of(bundle, None)
        kept = self.devices.table(device, bundle.space.name, precision)
        check_runtime(kept, runtime, supernet)
        return self.context_of(bundle, kept, self._float_table(kept, device))

    def _float_table(self, table: LatencyTable, device: str) -> LatencyTable | None:
        """The device's own table at fp32, to compare one of another precision with."""
        if table.conditions.precision == "fp32":
            return None
        with suppress(NotFound):
            found = self.devices.table(device, table.space, "fp32")
            if found.conditions.runtime == table.conditions.runtime:
                return found  # one runtime's times say nothing about another's
        return None

    def read_profile(self, profile: object) -> LatencyTable:
        """The table of a posted or inline profile: of any form of `parse_profile`, or of what a
        measuring kit wrote.

        Raises:
            InputError: if it does not hold.
            NotFound: if its donor has no such table, or its space is not known and has to be.
        """
        check_finished(profile)
        if isinstance(profile, Mapping) and "rounds" in profile:
            from latency_tables.benchmark import table_from_kit  # scipy: half a second

            head, conditions = parse_head(profile, "rounds")
            return table_from_kit(head, conditions, self.space(head["space"]))

        def spaces() -> Mapping[str, SearchSpace]:
            return {**published_spaces(), **self.spaces()}

        def donor(device: str, space: str, precision: str) -> LatencyTable:
            alike = (space, precision) in self.devices.keys().get(device, ())
            return self.devices.table(device, space, precision if alike else None)

        return parse_profile(profile, spaces, donor)

    def spaces(self) -> dict[str, SearchSpace]:
        """The search spaces of all supernets, by name."""
        bundles = (self.supernets.get(name) for name in self.supernets.names())
        return {bundle.space.name: bundle.space for bundle in bundles}

    def space(self, name: str) -> SearchSpace:
        """One of them.

        Raises:
            NotFound: with the nearest known name.
        """
        spaces = self.spaces()
        if name not in spaces:
            raise NotFound.named("space", name, spaces)
        return spaces[name]

    def findings(self, item: KeptTable) -> tuple[Finding, ...]:
        """What is odd about a kept table: looked for once, since a table never changes."""
        space = self.spaces().get(item.table.space)
        key = (item.sha256, space)
        found = self._findings.get(key)
        if found is None:
            found = self._findings[key] = lint(item.table, space)
            while len(self._findings) > FINDINGS_KEPT:
                self._findings.pop(next(iter(self._findings)), None)
        return found

    def keep_device(self, table: LatencyTable, *, replace: bool = False, **stored: Any) -> Revision:
        """Keep a table that holds; every table of a user's comes in here.

        Args:
            stored: as `Devices.add` takes it.

        Raises:
            BadTable: with every reason, if it does not hold.
            Conflict: as `Devices.add`.
        """
        check(table, self.spaces().get(table.space))
        return self.devices.add(table, replace=replace, **stored)

    def context_of(
        self,
        bundle: Bundle,
        table: LatencyTable | None,
        float_table: LatencyTable | None = None,
    ) -> DeploymentContext:
        """A supernet with tables that are at hand already. None is looked for by name: a name
        means another device for somebody else.

        Args:
            float_table: the device's at fp32, where `table` is of another precision.
        """
        key = (
            bundle.path,
            bundle.sha256,
            bundle.card["files"].get(PREDICTOR),
            *(None if known is None else known.sha256 for known in (table, float_table)),
        )
        with self._lock:
            if (context := self._contexts.pop(key, None)) is None:
                context = self._with_front(DeploymentContext.open(bundle, table, float_table))
            self._contexts[key] = context
            while len(self._contexts) > CONTEXTS_KEPT:
                self._contexts.pop(next(iter(self._contexts)))
        return context

    def _with_front(self, context: DeploymentContext) -> DeploymentContext:
        store = FrontStore.of(self.home)
        return replace(context, front_genes=lambda told: store.computed(context, told).genes)


def changed_since(
    bundle: Bundle, request: Mapping[str, Any], *, predictor: bool = True
) -> str | None:
    """Which file of a supernet is another than the one that a stored request names, and both
    hashes; None: what its answer depends on is the same.

    Args:
        predictor: whether the accuracy predictor matters.
    """
    files = {"weights": (request["supernet_sha256"], bundle.sha256)}
    if predictor:
        found = bundle.card["files"].get(PREDICTOR, "none")
        files["a predictor"] = (request["predictor_sha256"], found)
    for what, (expected, found) in files.items():
        if expected != found:
            return f"expected {what} with sha256 {expected[:12]}, found {found[:12]}"
    return None


def check_runtime(table: LatencyTable, runtime: str | None, supernet: str) -> None:
    """Refuse the table of one runtime for another.

    Raises:
        InputError: the table is of another runtime than `runtime`; says how to get one of it.
    """
    if runtime is None or table.conditions.runtime == runtime:
        return
    name, there = table.device, table.conditions.runtime
    raise InputError(
        f"runtime: device {name!r} was measured with {there}; for {runtime} measure it by "
        f"`subnet-search devices measure {name}-{runtime} --supernet {supernet} --runtime "
        f"{runtime}`, or name a device of {runtime}"
    )

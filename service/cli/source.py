"""Where reading commands get their answers: from this installation, or from a service (`--server`).

Both sources answer in the same form, so that a command prints the same for either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from models.errors import Conflict
from service.cli.common import SearchesQuery, catalog, settings
from service.cli.remote_source import OnShare, RemoteSource

if TYPE_CHECKING:
    from service.catalog import Catalog, DeploymentContext
    from service.contracts import (
        DeviceRead,
        DeviceRemoved,
        DeviceSummary,
        Effort,
        FileBatch,
        NetworkSummary,
        SearchRead,
        SupernetRead,
        SupernetRemoved,
        SupernetSummary,
    )
    from service.delivery import MemoryBlobs, ModelBuilder

Profile = dict[str, Any]
"""A device profile, as POST /v1/devices takes it."""


class Source(Protocol):
    """Answers reading commands."""

    def supernets(self) -> Sequence[SupernetSummary]:
        """A summary of every supernet."""

    def supernet(self, name: str) -> SupernetRead:
        """One supernet."""

    def remove_supernet(self, name: str, *, training: bool) -> SupernetRemoved:
        """Remove a user's supernet, and the checkpoint of its training if that is asked for."""

    def devices(self) -> Sequence[DeviceSummary]:
        """A summary of every device."""

    def device(self, name: str) -> DeviceRead:
        """One device."""

    def device_table(self, name: str, *, space: str | None, precision: str | None) -> Profile:
        """A device's only latency table, as a profile."""

    def remove_device(
        self, name: str, *, space: str | None, precision: str | None
    ) -> DeviceRemoved:
        """Remove a user's device, or only some of its tables."""

    def networks(self, device: str | None) -> Sequence[NetworkSummary]:
        """Published networks, of one device or all."""

    def front(
        self,
        supernet: str,
        device: str,
        latency_ms: float | None,
        on_share: OnShare,
        *,
        confidence: float | None = None,
        precision: str | None = None,
    ) -> dict[str, Any]:
        """A front as the API answers it; with `latency_ms` only the best network within it."""

    def search(
        self,
        supernet: str,
        device: str,
        limits: Mapping[str, Any],
        precision: str,
        seed: int,
        on_share: OnShare,
        *,
        allow_low_top1: bool = False,
        runtime: str | None = None,
        batch: FileBatch | None = None,
        target: Mapping[str, Any] | None = None,
        frozen: Mapping[str, Any] | None = None,
        build: bool = False,
        effort: Effort = "normal",
    ) -> dict[str, Any]:
        """What `search --json` prints of a feasible search.

        Args:
            limits, target, frozen, effort: as a request has them.
            runtime: that the device's table must be of.
            batch: of a service, too: images that the file is fixed to.
            limits, target, frozen, effort: as a request has them.
            build: the file too, for `keep_found`, and checked as a service does; a service always
                builds it.

        Raises:
            Infeasible: if no network meets the limits.
            Unverified: if the file fails a check, or is timed above its budget, and so are those
                that were stepped down to.
        """

    def keep_found(self, answer: Mapping[str, Any], out: Path, on_share: OnShare) -> None:
        """Write the file of a search that was built, whole or not at all."""

    def searches(self, query: SearchesQuery, limit: int) -> Sequence[SearchRead]:
        """At most `limit` stored searches, the newest first."""

    def search_of(self, search_id: str) -> SearchRead:
        """One stored search."""

    def download(self, search_id: str, target: Path, on_share: OnShare) -> None:
        """Write the model of a stored search to a file, whole or not at all."""


@contextmanager
def open_source(server: str | None) -> Iterator[Source]:
    """The service at the URL `server`, or this installation if that is None."""
    if server is None:
        yield LocalSource()
        return
    from service.client import Client

    key = settings().api_key
    with Client(server, None if key is None else key.get_secret_value()) as client:
        yield RemoteSource(client)


class LocalSource:
    """This installation."""

    @cached_property
    def _catalog(self) -> Catalog:
        return catalog()

    def supernets(self) -> Sequence[SupernetSummary]:
        """A summary of every supernet."""
        from service.catalog import summarize_supernets

        return summarize_supernets(self._catalog)

    def supernet(self, name: str) -> SupernetRead:
        """One supernet."""
        from service.catalog import describe_supernet

        return describe_supernet(self._catalog, name)

    def remove_supernet(self, name: str, *, training: bool) -> SupernetRemoved:
        """Remove a user's supernet, and the checkpoint of its training if that is asked for."""
        from service.catalog.supernets import remove_supernet
        from service.storage import SearchStore, current_database

        with current_database(settings().database) as engine:
            store = SearchStore(engine)
            return remove_supernet(settings().home, name, store, training=training)

    def devices(self) -> Sequence[DeviceSummary]:
        """A summary of every device."""
        from service.catalog import open_devices, summarize_devices  # slow to open: the catalog

        return summarize_devices(open_devices(settings()))

    def device(self, name: str) -> DeviceRead:
        """One device."""
        from service.catalog import describe_device

        return describe_device(self._catalog, name)

    def device_table(self, name: str, *, space: str | None, precision: str | None) -> Profile:
        """A device's only latency table, as a profile."""
        from latency_tables.fitting import profile_of_table
        from service.catalog import only_table, open_devices

        return profile_of_table(only_table(open_devices(settings()), name, space, precision).table)

    def remove_device(
        self, name: str, *, space: str | None, precision: str | None
    ) -> DeviceRemoved:
        """Remove a user's device, or only some of its tables."""
        from service.catalog import open_devices, remove_device

        return remove_device(open_devices(settings()), name, space, precision)

    def networks(self, device: str | None) -> Sequence[NetworkSummary]:
        """Published networks, of one device or all."""
        from service.catalog.published import summarize_networks

        return summarize_networks(self._catalog, device)

    def front(
        self,
        supernet: str,
        device: str,
        latency_ms: float | None,
        on_share: OnShare,
        *,
        confidence: float | None = None,
        precision: str | None = None,
    ) -> dict[str, Any]:
        """A front; with `latency_ms` only the best network within it."""
        from service.catalog import read_front

        return read_front(
            *(self._catalog.home, self._catalog.context(supernet, device, precision), latency_ms),
            confidence=confidence,
            on_share=lambda share: on_share(share, ""),
        )

    def search(  # long: an argument for each thing that may be asked
        self,
        supernet: str,
        device: str,
        limits: Mapping[str, Any],
        precision: str,
        seed: int,
        on_share: OnShare,
        *,
        allow_low_top1: bool = False,
        runtime: str | None = None,
        batch: FileBatch | None = None,
        target: Mapping[str, Any] | None = None,
        frozen: Mapping[str, Any] | None = None,
        build: bool = False,
        effort: Effort = "normal",
    ) -> dict[str, Any]:
        """A network; unless its file is built, no accuracy is measured."""
        from models.spaces import Arch
        from service.catalog import (
            FrontStore,
            describe_layers,
            prepare_goal,
            search_warnings,
            with_goal,
        )
        from service.contracts import DEPRECATED_CERTIFICATE
        from service.delivery import compare, deliver, deliverable_batch, run_search

        plain = self._catalog.context(supernet, device, precision, runtime)
        deliverable_batch(batch, plain.table)

        def report(step: str, share: float) -> None:
            words = {"front": "(first the device's front, once)"}
            on_share(share, words.get(step, step if build else ""))

        asked = {"target": target, "frozen": frozen, "effort": effort}
        upper, goal = prepare_goal(plain, limits, asked, lambda share: report("front", 0.0))
        context, given = with_goal(plain, upper, goal)
        built: dict[str, Any] = {}
        if build:
            made = deliver(
                plain, partial(_builder_of, plain), upper, seed, goal=goal, artifacts=self._built,
                report=report,
                allow_low_top1=allow_low_top1, batch=batch,
            )  # fmt: skip
            built = {name: made[name] for name in ("verified", "sha256", "file")}
            arch, run, warnings = Arch.from_json(made["arch"]), made["search"], made["warnings"]
        else:
            found = run_search(context, given, seed, goal, report)
            run = {"evaluations": found.evaluations, "seconds": found.seconds}
            arch, warnings = found.arch, search_warnings(context, given, found.arch, goal)
        FrontStore.of(self._catalog.home).add(plain, arch)
        return {
            "feasible": True,
            **context.describe(arch),
            "seed": seed,
            "effort": effort,
            "evaluations": run["evaluations"],
            "search_seconds": run["seconds"],
            "certificate": DEPRECATED_CERTIFICATE,
            "limits": upper,
            **({} if upper == dict(limits) else {"asked": dict(limits)}),
            **goal.to_request(),
            "precision": precision,
            **(
                {"int8": compare(context, arch, built.get("verified", {}))}
                if precision == "int8"
                else {}
            ),
            "layers": describe_layers(context.bundle, context.table, arch),
            "provenance": context.provenance(),
            "warnings": warnings,
            **built,
        }

    def keep_found(self, answer: Mapping[str, Any], out: Path, on_share: OnShare) -> None:
        """Write the file that `search` has built."""
        from models.machine import write_atomically

        write_atomically(out, self._built.get(answer["sha256"]))

    @cached_property
    def _built(self) -> MemoryBlobs:
        from service.delivery import MemoryBlobs

        return MemoryBlobs()

    def searches(self, query: SearchesQuery, limit: int) -> Sequence[SearchRead]:
        """At most `limit` stored searches, the newest first."""
        from service.catalog import describe_searches
        from service.storage import SearchFilter, SearchStore, current_database

        with current_database(settings().database) as engine:
            page = SearchStore(engine).page(SearchFilter(**asdict(query), limit=limit))
        return describe_searches(self._catalog.devices, page.items)

    def search_of(self, search_id: str) -> SearchRead:
        """One stored search.

        Raises:
            NotFound: if there is none.
        """
        from service.catalog import describe_searches
        from service.storage import SearchStore, current_database

        with current_database(settings().database) as engine:
            search = SearchStore(engine).get(search_id)
        (read,) = describe_searches(self._catalog.devices, [search])
        return read

    def download(self, search_id: str, target: Path, on_share: OnShare) -> None:
        """Copy the model from the artifacts.

        Raises:
            NotFound: if there is no such search.
            Conflict: if it has no model.
        """
        from models.machine import write_atomically
        from service.storage import ArtifactStore, SearchStore, current_database

        with current_database(settings().database) as engine:
            search = SearchStore(engine).get(search_id)
        if search.artifact_sha256 is None:
            raise Conflict(f"search {search_id} is {search.status} and has no model")
        write_atomically(target, ArtifactStore(settings().artifacts).get(search.artifact_sha256))


def _builder_of(context: DeploymentContext) -> ModelBuilder:
    from service.delivery import ModelBuilder

    return ModelBuilder(context.bundle, threads=settings().threads, home=settings().home)

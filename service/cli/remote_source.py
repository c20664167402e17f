"""A service's answers to reading commands (`--server`), in the form of those of an installation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.cli.common import SearchesQuery
    from service.client import Client
    from service.contracts import Effort, FileBatch, SearchRead

GOAL_FIELDS = ("asked", "minimums", "frozen", "target")
"""Of a stored request: what it asked for beside limits in units."""
OnShare = Callable[[float, str], None]
"""(share of the work done, what is being done)"""


class RemoteSource:
    """A service."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.supernets, self.supernet = client.supernets, client.supernet
        self.remove_supernet = client.remove_supernet
        self.devices, self.device = client.devices, client.device
        self.device_table, self.remove_device = client.device_table, client.remove_device
        self.networks, self.search_of = client.networks, client.get

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
        front = self._client.front(
            supernet, device, latency_ms, latency_confidence=confidence, precision=precision
        )
        return front.model_dump(mode="json")

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
        """A network, with the id of the search for `download`."""
        search = self._client.search(
            supernet,
            device,
            limits=limits,
            precision=precision,
            seed=seed,
            allow_low_top1=allow_low_top1,
            runtime=runtime,
            batch=batch,
            target=target,
            frozen=frozen,
            effort=effort,
            on_progress=on_share,
        )
        result = search.found.model_dump(mode="json", exclude_none=True)
        run = result["search"]
        numbers = ["top1", "latency_ms", "latency_upper_ms", *search.found.limit_numbers()]
        numbers.remove("model_bytes")  # of the file, which this command does not fetch
        names = (
            *("arch", *dict.fromkeys(numbers), "batch", "runtime", "latency_ms_per_image"),
            *("footprint", "top1_interval"),
        )
        return {
            "feasible": True,
            **{name: result[name] for name in names if name in result},
            "seed": run["seed"],
            "effort": run["effort"],
            "evaluations": run["evaluations"],
            "search_seconds": run["seconds"],
            "certificate": run["certificate"],
            "limits": search.request["constraints"],
            **{n: search.request[n] for n in GOAL_FIELDS if n in search.request},
            "precision": precision,
            **({"int8": search.found.int8} if search.found.int8 is not None else {}),
            "layers": search.found.layers,
            "provenance": search.found.provenance,
            "verified": search.found.verified,
            "warnings": search.found.warnings,
            "id": search.id,
            "sha256": search.sha256,
        }

    def keep_found(self, answer: Mapping[str, Any], out: Path, on_share: OnShare) -> None:
        """Download the file of the search."""
        self.download(answer["id"], out, on_share)

    def searches(self, query: SearchesQuery, limit: int) -> Sequence[SearchRead]:
        """At most `limit` stored searches, the newest first."""
        return list(self._client.searches(**asdict(query), limit=limit))

    def download(self, search_id: str, target: Path, on_share: OnShare) -> None:
        """Download the model, continuing where an earlier attempt broke off."""
        self._client.download(
            search_id, target, progress=lambda done, whole: on_share(done / max(whole, 1), "")
        )

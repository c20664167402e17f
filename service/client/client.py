"""A typed client of the REST API: `Client().search("fashion-mbv3", "host", latency_ms=1.0)`.

Every call ends: each has a time limit, and retries are bounded. Answers are the models of
`service.contracts`, some with a picture for notebooks (`service.client.answers`); errors are those
of `service.client.errors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from service.client.answers import Search, Searches
from service.client.errors import (
    NotFinished,
    SearchCancelled,
    ServerFailed,
    TooManyRequests,
    Unreachable,
    problem_error,
)
from service.client.fetch import Fetched, fetch
from service.client.links_client import LinksClient
from service.client.wire import MAX_PAUSE_S, RETRIES, Wire, path_part
from service.contracts import (
    Effort,
    Event,
    FileBatch,
    LimitValue,
    SearchPage,
    Sort,
    Status,
    read_moment,
    verify_webhook,
)

__all__ = ["Client", "verify_webhook"]

PAGE = 200
"""Searches asked for at a time, the most that the service gives."""
PAUSE_S = 0.25

OnProgress = Callable[[float, str], None]
"""(share of the work done, 0..1; what is being done)."""


class Client(LinksClient):
    """A client of one service. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            url: where the service is, without `/v1`.
            api_key: what `subnet-search keys create` printed; sent as a bearer token.
            timeout_s: of one request: the longest wait for the next bytes of the response.
            transport: replaces the network in tests.

        Raises:
            InputError: if `url` is no http or https URL.
        """
        super().__init__(Wire(url, api_key, timeout_s, transport))

    def __repr__(self) -> str:
        return f"Client({self._wire.url!r})"  # without the key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    # -- searches ------------------------------------------------------------------------

    def search(  # long: a parameter for each field of a request
        self,
        supernet: str,
        device: str | Mapping[str, Any],
        *,
        latency_ms: LimitValue | None = None,
        macs: LimitValue | None = None,
        params: LimitValue | None = None,
        model_bytes: LimitValue | None = None,
        peak_memory_bytes: LimitValue | None = None,
        energy_mj: LimitValue | None = None,
        latency_confidence: float | None = None,
        limits: Mapping[str, LimitValue] | None = None,
        target: Mapping[str, Any] | None = None,
        frozen: Mapping[str, Any] | None = None,
        effort: Effort = "normal",
        precision: str = "fp32",
        runtime: str | None = None,
        seed: int = 0,
        batch: FileBatch | None = None,
        allow_low_top1: bool = False,
        shared: bool = False,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        wait: bool = True,
        timeout_s: float = 600.0,
        on_progress: OnProgress | None = None,
    ) -> Search:
        """The most accurate network within limits: a stored search, or a new one.

        Args:
            device: a name, or a whole profile.
            latency_ms, macs, ...: limits: a number, a share of the largest network ("60%"), or a
                range of them (`{"min": 20, "max": 25}`).
            limits: further limits by name, such as those that only the service knows.
            target: `{"top1": 76}`: instead the fastest network of at least this predicted accuracy,
                percent; `"minimize"` names another quantity than latency_ms.
            frozen: choices kept of some genes, `{"kernel": [3, 5], "stage2.depth": 3}`.
            effort: how many networks are evaluated, "quick", "normal" or "thorough".
            runtime: what will run the network; refused if the device's table is of another.
            batch: images that the file is fixed to, or "dynamic"; None: as the device needs it.
            allow_low_top1: deliver also what is far less accurate than predicted.
            shared: whether everybody with a key sees it.
            webhook: a URL called when the search ends; `verify_webhook` checks the call.
            wait: until the search ends; otherwise a new search is returned as queued.
            timeout_s: longest wait; the search continues after it.

        Raises:
            Infeasible: with the floor, if no network meets the limits.
            NotFinished: after `timeout_s`.
            ProblemError: if the search failed.
        """
        given = {
            **{"latency_ms": latency_ms, "macs": macs, "params": params},
            **{"model_bytes": model_bytes, "peak_memory_bytes": peak_memory_bytes},
            **{"energy_mj": energy_mj, "latency_confidence": latency_confidence, **(limits or {})},
        }
        later: dict[str, Any] = {  # not all services have it
            **{"runtime": runtime, "batch": batch, "webhook": webhook},
            **{"target": target, "frozen": frozen or None},
            **{"effort": None if effort == "normal" else effort},
        }
        body = {
            "supernet": supernet,
            "device": device if isinstance(device, str) else dict(device),
            "constraints": {name: limit for name, limit in given.items() if limit is not None},
            **{"precision": precision, "seed": seed, "shared": shared},
            **({"allow_low_top1": True} if allow_low_top1 else {}),
            **{name: value for name, value in later.items() if value is not None},
        }
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        search = self._wire.send("POST", "/v1/searches", Search, json=body, headers=headers)
        return self.wait(search, timeout_s=timeout_s, on_progress=on_progress) if wait else search

    def get(self, search: Search | str) -> Search:
        """One search as it is now."""
        return self._wire.get(_path(search), Search)

    def cancel(self, search: Search | str) -> Search:
        """Cancel a search.

        Raises:
            Conflict: if it has succeeded or failed.
        """
        return self._wire.send("DELETE", _path(search), Search)

    def searches(
        self,
        *,
        supernet: str | None = None,
        device: str | None = None,
        status: Status | None = None,
        latency_ms_max: float | None = None,
        top1_min: float | None = None,
        created_after: datetime | date | str | None = None,
        created_before: datetime | date | str | None = None,
        sort: Sort = "-created_at",
        limit: int | None = None,
    ) -> Searches:
        """Stored searches, fetched page by page; `.to_pandas()` makes a table of them.

        Args:
            created_after: asked then or later: a time with its zone, or a date, which is its
                midnight in UTC.
            created_before: asked earlier than that.
            limit: at most so many; None for all.

        Raises:
            InputError: if a time says no zone.
        """
        filters = {
            "supernet": supernet,
            "device": device,
            "status": status,
            "latency_ms_max": latency_ms_max,
            "top1_min": top1_min,
            "created_after": None if created_after is None else _moment(created_after),
            "created_before": None if created_before is None else _moment(created_before),
            "sort": sort,
        }
        return Searches(self._listed(filters, limit))

    def _listed(self, filters: Mapping[str, Any], limit: int | None) -> Iterator[Search]:
        left, cursor = limit, None
        while left is None or left > 0:
            page = self._wire.get(
                "/v1/searches",
                SearchPageOf,
                **filters,
                limit=min(left or PAGE, PAGE),
                cursor=cursor,
            )
            yield from page.items
            left = None if left is None else left - len(page.items)
            if page.next_cursor is None or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    def wait(
        self,
        search: Search | str,
        *,
        timeout_s: float = 600.0,
        on_progress: OnProgress | None = None,
    ) -> Search:
        """Wait for a search to succeed, also while the service restarts.

        Raises:
            NotFinished: after `timeout_s`.
            SearchCancelled: if somebody cancelled it.
            ProblemError: if it failed.
        """
        if isinstance(search, str) or not search.finished:
            for event in self.events(search, timeout_s=timeout_s):
                if event.kind == "progress" and on_progress is not None:
                    on_progress(event.data.get("share", 0.0), event.data.get("step", ""))
            search = self.get(search)
        if search.status == "cancelled":
            raise SearchCancelled(search)
        if search.error is not None:
            raise problem_error(search.error.get("status", 500), search.error, instance=search.id)
        return search

    def events(
        self, search: Search | str, *, after: int = 0, timeout_s: float = 600.0
    ) -> Iterator[Event]:
        """The events of a search as they happen, until it is finished.

        A stream that breaks off is resumed after the last event.

        Args:
            after: only events after the one with this id.

        Raises:
            NotFinished: after `timeout_s`.
            Unreachable: if the service is gone for good.
        """
        deadline, failures = time.monotonic() + timeout_s, 0
        while True:
            try:
                for event in self._wire.events(_path(search) + "/events", after, deadline):
                    after, failures = event.id, 0
                    yield event
                # Finished, or the service stopped.
                now = self.get(search)
                if now.finished:
                    return
            except (Unreachable, TooManyRequests, ServerFailed):
                failures += 1
                if failures > RETRIES:
                    raise
            left = deadline - time.monotonic()
            if left <= 0:
                now = self.get(search)
                raise NotFinished(
                    f"search {now.id} is {now.status} after {timeout_s:g} s; it goes on: wait "
                    "again, or cancel it",
                    now,
                )
            time.sleep(min(PAUSE_S * 4**failures, MAX_PAUSE_S, left))

    def download(
        self,
        search: Search | str,
        path: str | Path,
        *,
        progress: Callable[[int, int], None] | None = None,
        timeout_s: float = 600.0,
    ) -> Path:
        """Download the ONNX file of a search. The file appears at `path` once its sha256 matches.

        A download that breaks off is resumed, also by a later call: received bytes are kept in a
        hidden file beside `path`.

        Args:
            path: a file, or a folder to write the file into under the service's name for it.
            progress: called with (bytes received, bytes of all).

        Returns:
            The file.

        Raises:
            InputError: if there is no such folder.
            NotFinished: if the search has no result.
            DamagedDownload: if the sha256 of the received bytes differs from the search's.
        """
        found = self.get(search) if isinstance(search, str) else search
        target = Path(path)
        if target.is_dir():
            # Names from the service never become a path.
            request = found.request
            words = (request["supernet"], request["device"], f"{found.sha256[:8]}.onnx")
            target = target / Path("-".join(map(str, words))).name
        wanted = Fetched(_path(found) + "/model.onnx", found.sha256, found.found.model_bytes)
        fetch(self._wire.open, wanted, target, progress=progress, timeout_s=timeout_s)
        return target


class SearchPageOf(SearchPage):
    """A page of this client's `Search` objects."""

    items: Sequence[Search]  # type: ignore[assignment]


def _path(search: Search | str) -> str:
    return f"/v1/searches/{path_part(search if isinstance(search, str) else search.id)}"


def _moment(given: datetime | date | str) -> str:
    return read_moment(given).isoformat()

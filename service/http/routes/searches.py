"""Searches: submit, list, read, follow, cancel, download."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from latency_tables.fitting import profile_of_table
from latency_tables.table import table_from_json
from models.errors import Conflict, NotFound
from service.catalog import describe_searches
from service.contracts import (
    Caller,
    DeviceProfile,
    NotAllowed,
    Search,
    SearchPage,
    SearchQuery,
    SearchRead,
    SearchRequest,
)
from service.delivery import read_private
from service.http.dependencies import CallerDep, NamePath, SearchDep, Service, ServiceDep
from service.http.problems import problems
from service.http.ranges import MEDIA_TYPE, download
from service.http.scopes import requires
from service.http.strict_json import StrictRoute
from service.jobs import submit
from service.storage import SearchFilter, check_webhook

router = APIRouter(
    prefix="/v1/searches", tags=["searches"], responses=problems(422), route_class=StrictRoute
)


@router.post(
    "",
    status_code=202,
    response_model=SearchRead,
    responses={
        201: {"model": SearchRead, "description": "Finished: stored before, or within the wait"},
        **problems(404, 429),
    },
)
@requires("search")
async def create_search(
    request: SearchRequest,
    response: Response,
    service: ServiceDep,
    caller: CallerDep,
    prefer: Annotated[
        str | None, Header(description="`wait=S`: answer when finished, or after S seconds.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="A key of your own: the same key always stands for the same search.",
        ),
    ] = None,
) -> SearchRead:
    """Search for a network and make its model.

    The same request, supernet and latency table are the same search: if it is stored already it
    is answered at once (201). What no network can meet is refused at once (422, with the floor).
    """
    search = await run_in_threadpool(_submit, service, caller, request, idempotency_key)
    service.http_metrics.submitted(stored=search.finished)
    if (seconds := parse_wait(prefer)) is not None:
        seconds = min(seconds, service.settings.max_wait_s)
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
        search = await _finished(service, search, seconds)
    response.headers["Location"] = f"/v1/searches/{search.id}"
    response.status_code = 201 if search.finished else 202
    return await run_in_threadpool(_read, service, caller, search)


def _submit(service: Service, caller: Caller, request: SearchRequest, key: str | None) -> Search:
    if request.webhook is not None:
        check_webhook(request.webhook, service.settings)
    catalog = service.catalog.seen_by(caller)
    return submit(service.store, catalog, request, key, caller, service.webhooks)


def _read(service: Service, caller: Caller, search: Search) -> SearchRead:
    (read,) = describe_searches(service.catalog.devices.seen_by(caller), [search])
    return read


def parse_wait(prefer: str | None) -> float | None:
    """Seconds of a `Prefer: wait=S` header (RFC 7240); None without, or if it does not hold."""
    match = re.search(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:[,;]|$)', prefer or "", re.I)
    return float(match[1]) if match else None


async def _finished(service: Service, search: Search, seconds: float) -> Search:
    if search.finished:
        return search
    deadline = time.monotonic() + seconds
    with service.watch.watching(search.id) as watcher:
        while not service.stop.is_set():
            search, _ = await watcher.read()
            left_s = deadline - time.monotonic()
            if search.finished or left_s <= 0:
                break
            await watcher.changed(left_s)
    return search


@router.get("")
@requires("read")
def list_searches(
    query: Annotated[SearchQuery, Query()], service: ServiceDep, caller: CallerDep
) -> SearchPage:
    """Stored searches that the caller sees, a page at a time."""
    values = query.model_dump(exclude={"cursor"})
    seen_by = None if caller.sees_all else caller.owner
    page = service.store.page(SearchFilter(**values, seen_by=seen_by), query.cursor)
    items = describe_searches(service.catalog.devices.seen_by(caller), page.items)
    return SearchPage(items=items, next_cursor=page.next_cursor)


@router.get("/{search_id}", response_model=SearchRead, responses=problems(404))
@requires("read")
def read_search(search_id: NamePath, service: ServiceDep, caller: CallerDep) -> Response:
    """One search as it is now."""
    # The most frequent request: one thread does all of it.
    state = service.store.state(search_id)
    service.owners.check_seen(search_id, caller)
    text = service.answers.text(state, service.catalog.devices.seen_by(caller))
    return Response(text, media_type="application/json")


@router.get(
    "/{search_id}/table",
    response_class=JSONResponse,
    responses={200: {"model": DeviceProfile}, **problems(404)},
)
@requires("read")
def read_search_table(search: SearchDep, service: ServiceDep, caller: CallerDep) -> Response:
    """The latency table that a search was asked with, as a profile: also of a device that came
    with the request, or has another table now.

    A shared search shows its answer to everybody, but its table (403) only to its owner and to
    those who see a device that has or had it.
    """
    devices, sha256 = service.catalog.devices.seen_by(caller), search.profile_sha256
    content = None if devices.store is None else devices.store.content(sha256)
    if content is None:
        raise NotFound(f"the table of search {search.id} is not here")
    device = search.request["device"]
    if not service.owners.owns(search.id, caller) and not devices.sees_table(device, sha256):
        raise NotAllowed(
            f"search {search.id} is shared, but the latency table of its device {device!r} is not: "
            "whoever asked can add the device for all, with `shared`"
        )
    return JSONResponse(profile_of_table(table_from_json(content)))


@router.delete("/{search_id}", responses=problems(404, 409))
@requires("search")
def cancel_search(search: SearchDep, service: ServiceDep, caller: CallerDep) -> SearchRead:
    """Cancel a search that is not finished; its owner may, and admins."""
    service.owners.check_owned(search.id, caller)
    return _read(service, caller, service.store.cancel(search.id))


@router.get("/{search_id}/events", response_class=EventSourceResponse, responses=problems(404))
@requires("read")
async def stream_events(
    search: SearchDep,
    service: ServiceDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a search, as it happens, until it is finished.

    Events: queued, running, progress {"step", "share"}, succeeded, failed (a problem document),
    cancelled. A stream that broke goes on after the `Last-Event-ID` it is asked with.
    """
    seen = await service.watch.last_seen(search.id, int(last_event_id)) if last_event_id else 0
    with service.watch.watching(search.id, seen) as watcher:
        while not service.stop.is_set():
            search, events = await watcher.read()
            for event in events:
                yield ServerSentEvent(data=event.data, event=event.kind, id=str(event.id))
            if search.finished:
                return
            await watcher.changed()


@router.get(
    "/{search_id}/model.onnx",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The part that Range asked for"},
        304: {"description": "If-None-Match holds the ETag"},
        416: {"description": "Range lies beyond the end"},
        **problems(404, 409),
    },
)
@router.head("/{search_id}/model.onnx", include_in_schema=False)
@requires("read")
def download_model(
    search: SearchDep,
    service: ServiceDep,
    if_none_match: Annotated[str | None, Header()] = None,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """The ONNX file. Its ETag is its sha256, and its metadata say how to run it."""
    sha256 = _artifact(search)
    return download(
        service.artifacts.get(sha256),
        sha256,
        _file_name(search, sha256),
        if_none_match=if_none_match,
        range_=range_,
        if_range=if_range,
    )


@router.get(
    "/{search_id}/model.onnx.sig",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "If-None-Match holds the ETag"},
        **problems(404, 409),
    },
)
@requires("read")
def download_signature(
    search: SearchDep,
    service: ServiceDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The ONNX file's detached Ed25519 signature, 64 bytes, by the key of whoever runs this
    service (`SUBNET_SIGNING_KEY`); 404 where there is none."""
    sha256 = _artifact(search)
    if service.settings.signing_key is None:
        raise NotFound("this service signs nothing: its operator has set no SUBNET_SIGNING_KEY")
    signature = read_private(service.settings.signing_key).sign(service.artifacts.get(sha256))
    return download(
        signature,
        hashlib.sha256(signature).hexdigest(),
        f"{_file_name(search, sha256)}.sig",
        if_none_match=if_none_match,
    )


def _artifact(search: Search) -> str:
    """The sha256 of a search's model."""
    if search.artifact_sha256 is None or search.status != "succeeded":
        raise Conflict(
            f"search {search.id} is {search.status}: a model exists once it has succeeded"
        )
    return search.artifact_sha256


def _file_name(search: Search, sha256: str) -> str:
    request = search.request
    precision = "" if request["precision"] == "fp32" else f"-{request['precision']}"
    return f"{request['supernet']}-{request['device']}{precision}-{sha256[:8]}.onnx"

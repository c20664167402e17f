"""Explanations and pictures: of what a search found, and of any network on any device."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from latency_tables.table import Precision, table_from_json
from models.errors import Conflict, InputError
from models.schema import parse_strict
from models.spaces import Arch, ArchReader, SearchSpace
from service.catalog import DeploymentContext, changed_since, explain, picture, read_front
from service.contracts import Explanation, Search
from service.http.dependencies import (
    CatalogDep,
    DevicePath,
    NamePath,
    SearchDep,
    Service,
    ServiceDep,
)
from service.http.problems import problems
from service.http.ranges import entity_tag, not_modified
from service.http.scopes import requires

SVG = "image/svg+xml"
MAX_ARCH = 4000
"""Longest architecture in a query, characters: less than a server takes of a request's line."""


router = APIRouter(prefix="/v1", responses=problems(422))
DRAWN: dict[int | str, dict[str, Any]] = {
    200: {"content": {SVG: {"schema": {"type": "string"}}}},
    304: {"description": "If-None-Match holds the ETag"},
}
ArchText = Annotated[
    str,
    Query(
        max_length=MAX_ARCH, description="An architecture's JSON, in any form that requests take."
    ),
]
IfNoneMatch = Annotated[str | None, Header()]


@router.get("/searches/{search_id}/explain", tags=["searches"], responses=problems(404, 409))
@requires("read")
def explain_search(search: SearchDep, service: ServiceDep) -> Explanation:
    """Where the time of a found network goes, what each choice costs, what more time would buy.

    Told by the latency table that was searched, also if the device has another since.
    """
    arch, context = _found(search, service)
    return Explanation(**explain(service.catalog.home, context, arch))


@router.get(
    "/searches/{search_id}/architecture.svg",
    tags=["searches"],
    response_class=Response,
    responses={**DRAWN, **problems(404, 409)},
)
@requires("read")
def draw_search(
    search: SearchDep, service: ServiceDep, if_none_match: IfNoneMatch = None
) -> Response:
    """The found network as a picture, with each layer's share of the latency."""
    arch, context = _found(search, service, predictor=False)
    return _drawn(picture(context, arch), if_none_match)


@router.get(
    "/supernets/{name}/architecture.svg",
    tags=["supernets"],
    response_class=Response,
    responses={**DRAWN, **problems(404)},
)
@requires("read")
def draw_network(
    name: NamePath,
    arch: ArchText,
    catalog: CatalogDep,
    device: Annotated[
        str | None,
        Query(max_length=129, description="Whose latency to share out among the layers."),
    ] = None,
    precision: Precision | None = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Any network of a supernet as a picture."""
    context = catalog.context(name, device, precision)
    return _drawn(picture(context, _read(arch, context.bundle.space)[0]), if_none_match)


@router.get(
    "/supernets/{name}/devices/{device}/explain",
    tags=["supernets"],
    responses=problems(404),
)
@requires("read")
def explain_network(
    name: NamePath,
    device: DevicePath,
    catalog: CatalogDep,
    latency_ms: Annotated[
        float | None,
        Query(gt=0, allow_inf_nan=False, description="Explain the front's best within this."),
    ] = None,
    arch: ArchText | None = None,
    precision: Precision | None = None,
) -> Explanation:
    """Explain a network on a device: the front's best within a latency, or one that is named."""
    context = catalog.context(name, device, precision)
    home = catalog.home
    if (latency_ms is None) == (arch is None):
        raise InputError("expected one of latency_ms and arch: which network to explain")
    warnings: list[str] = []
    if arch is not None:
        chosen, warnings = _read(arch, context.bundle.space)
    else:
        (point,) = read_front(home, context, latency_ms)["points"]
        chosen = Arch.from_json(point["arch"])
    return Explanation(**explain(home, context, chosen), warnings=warnings)


def _found(
    search: Search, service: Service, *, predictor: bool = True
) -> tuple[Arch, DeploymentContext]:
    """The network that a search found, and the context that it was searched in, with the accuracy
    predictor or whichever there is now."""
    if search.status != "succeeded" or search.result is None:
        raise Conflict(f"search {search.id} is {search.status}: it has found no network")
    bundle = service.catalog.supernets.get(search.request["supernet"])
    if (difference := changed_since(bundle, search.request, predictor=predictor)) is not None:
        raise Conflict(
            f"supernet {bundle.name!r} changed since this search: {difference}; search again"
        )
    table = table_from_json(service.store.profile(search.profile_sha256))
    return Arch.from_json(search.result["arch"]), service.catalog.context_of(bundle, table)


def _read(text: str, space: SearchSpace) -> tuple[Arch, list[str]]:
    """The architecture of a query, and what was ignored of it."""
    reader = ArchReader(space)
    try:
        return reader(parse_strict(text)), reader.warnings
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"arch: expected an architecture's JSON: {error}") from error


def _drawn(svg: str, if_none_match: str | None) -> Response:
    headers = {"ETag": entity_tag(svg.encode()), "Cache-Control": "no-cache"}
    if not_modified(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(svg, headers=headers, media_type=SVG)

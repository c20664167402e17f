"""Supernets, devices and their fronts over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response

from latency_tables.table import Precision
from service.catalog import (
    FrontQuery,
    correct_device,
    describe_correction,
    describe_device,
    describe_supernet,
    front_json,
    read_profile,
    summarize_devices,
    summarize_supernets,
)
from service.contracts import (
    CONFIDENCE,
    Confidence,
    CorrectionRead,
    DeviceList,
    DeviceProfile,
    DeviceRead,
    FrontRead,
    SupernetList,
    SupernetRead,
)
from service.http.dependencies import CatalogDep, NamePath
from service.http.problems import problems
from service.http.ranges import not_modified
from service.http.scopes import requires
from service.http.strict_json import StrictRoute

router = APIRouter(prefix="/v1", responses=problems(422), route_class=StrictRoute)


@router.get("/supernets", tags=["supernets"])
@requires("read")
def list_supernets(catalog: CatalogDep) -> SupernetList:
    """The supernets of this installation."""
    return SupernetList(items=summarize_supernets(catalog))


@router.get("/supernets/{name}", tags=["supernets"], responses=problems(404))
@requires("read")
def read_supernet(name: NamePath, catalog: CatalogDep) -> SupernetRead:
    """One supernet: its space, its predictor, its card."""
    return describe_supernet(catalog, name)


@router.get("/devices", tags=["devices"])
@requires("read")
def list_devices(catalog: CatalogDep) -> DeviceList:
    """The devices of this installation."""
    return DeviceList(items=summarize_devices(catalog))


@router.get("/devices/{name}", tags=["devices"], responses=problems(404))
@requires("read")
def read_device(name: NamePath, catalog: CatalogDep) -> DeviceRead:
    """One device: its latency tables without their entries, and what is odd about them."""
    return describe_device(catalog, name)


@router.post("/devices", tags=["devices"], status_code=201, responses=problems(404, 409))
@requires("search")
def add_device(profile: DeviceProfile, response: Response, catalog: CatalogDep) -> DeviceRead:
    """Keep a device profile under its name.

    Measurements of whole networks become a table, near that of a donor if one is named. A table is
    looked over first: what is wrong with it is refused (422, with every reason), what is odd about
    it is in the answer.
    """
    table = read_profile(catalog, profile.model_dump(exclude_unset=True, exclude={"shared"}))
    catalog.keep_device(table, shared=profile.shared)
    response.headers["Location"] = f"/v1/devices/{table.device}"
    return describe_device(catalog, table.device)


@router.post("/devices/{name}/measurements", tags=["devices"], responses=problems(404))
@requires("search")
def add_measurements(
    name: NamePath, measurements: Annotated[dict[str, Any], Body()], catalog: CatalogDep
) -> CorrectionRead:
    """Correct a device's table by whole networks timed on it: a new revision.

    `{"arch": [...], "latency_ms": [...], "batch": 1}`, with "space" and "precision" where the
    device has several tables; at least three networks. Searches keep the revision that they used,
    and are no longer `current`.
    """
    catalog.devices.check_changeable(name)
    corrected = correct_device(catalog, name, measurements)
    return describe_correction(catalog, corrected)


@router.get(
    "/supernets/{name}/devices/{device}/front",
    tags=["supernets"],
    response_model=FrontRead,
    responses={304: {"description": "If-None-Match holds the ETag"}, **problems(404)},
)
@requires("read")
def read_front(
    name: NamePath,
    device: NamePath,
    catalog: CatalogDep,
    latency_ms: Annotated[
        float | None,
        Query(gt=0, allow_inf_nan=False, description="Only the best within this latency."),
    ] = None,
    latency_confidence: Annotated[Confidence | None, Query(description=CONFIDENCE)] = None,
    precision: Annotated[
        Precision | None, Query(description="Of the device's table; fp32 before others.")
    ] = None,
    layers: Annotated[bool, Query(description="Also every network's layers.")] = False,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Every network that none is both faster and more accurate than."""
    context = catalog.context(name, device, precision)
    query = FrontQuery(latency_ms, latency_confidence, layers)
    answer = front_json(catalog.home, context, query)
    etag = f'"{answer.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not_modified(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(answer.content, headers=headers, media_type="application/json")

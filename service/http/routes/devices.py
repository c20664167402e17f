"""Devices: list, read, add, take a table out, correct by measurements, remove."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import JSONResponse

from latency_tables.fitting import profile_of_table
from latency_tables.table import Precision
from service.catalog import (
    correct_device,
    describe_correction,
    describe_device,
    only_table,
    remove_device,
    summarize_devices,
)
from service.contracts import (
    CorrectionRead,
    DescribedAs,
    DeviceList,
    DeviceProfile,
    DeviceRead,
    DeviceRemoved,
    Measurements,
)
from service.http.dependencies import CatalogDep, DevicePath
from service.http.problems import problems
from service.http.scopes import requires
from service.http.strict_json import StrictRoute

router = APIRouter(prefix="/v1", responses=problems(422), route_class=StrictRoute)

OfSpace = Annotated[
    str | None, Query(max_length=64, description="Only for this space; default: for any.")
]
AtPrecision = Annotated[
    Precision | None, Query(description="Only at this precision; default: at any.")
]


@router.get("/devices", tags=["devices"])
@requires("read")
def list_devices(catalog: CatalogDep) -> DeviceList:
    """The devices of this installation."""
    return DeviceList(items=summarize_devices(catalog.devices))


@router.get("/devices/{name}", tags=["devices"], responses=problems(404))
@requires("read")
def read_device(name: DevicePath, catalog: CatalogDep) -> DeviceRead:
    """One device: its latency tables without their entries, and what is odd about them."""
    return describe_device(catalog, name)


@router.get(
    "/devices/{name}/table",
    tags=["devices"],
    response_class=JSONResponse,
    responses={200: {"model": DeviceProfile}, **problems(404)},
)
@requires("read")
def read_table(
    name: DevicePath, catalog: CatalogDep, space: OfSpace = None, precision: AtPrecision = None
) -> Response:
    """A device's only latency table, with its entries, as a profile.

    POST /v1/devices takes it, and so does the `device` of a search. Where the device has several
    tables, `space` and `precision` say which.
    """
    table = only_table(catalog.devices, name, space, precision).table
    return JSONResponse(profile_of_table(table))


@router.delete("/devices/{name}", tags=["devices"], responses=problems(404, 409))
@requires("search")
def delete_device(
    name: DevicePath, catalog: CatalogDep, space: OfSpace = None, precision: AtPrecision = None
) -> DeviceRemoved:
    """Remove a device or some of its tables, with every revision; its owner may, and admins.

    Searches, also those under way, keep the tables that they were asked with. A device that comes
    with the program cannot be removed; corrections of it can, which brings the shipped table back.
    """
    return remove_device(catalog.devices, name, space, precision)


@router.post("/devices", tags=["devices"], status_code=201, responses=problems(404, 409))
@requires("search")
def add_device(
    profile: DeviceProfile,
    response: Response,
    catalog: CatalogDep,
    replace: Annotated[
        bool, Query(description="Replace a table that this device of yours has: a new revision.")
    ] = False,
) -> DeviceRead:
    """Keep a device profile under its name.

    Measurements of whole networks become a table, near that of a donor if one is named. A table is
    looked over first: what is wrong with it is refused (422, with every reason), what is odd about
    it is in the answer.
    """
    table = catalog.read_profile(profile.model_dump(exclude_unset=True, exclude={"shared"}))
    if replace and table.device in catalog.devices.names():
        catalog.devices.check_changeable(table.device)
        catalog.keep_device(table, replace=True)
    else:
        catalog.keep_device(table, shared=profile.shared)
    response.headers["Location"] = f"/v1/devices/{table.device}"
    return describe_device(catalog, table.device)


@router.post("/devices/{name}/measurements", tags=["devices"], responses=problems(404))
@requires("search")
def add_measurements(
    name: DevicePath,
    measurements: Annotated[dict[str, Any], Body(), DescribedAs(Measurements)],
    catalog: CatalogDep,
) -> CorrectionRead:
    """Correct a device's table by whole networks timed on it: a new revision.

    `{"arch": [...], "latency_ms": [...], "batch": 1}`, with "space" and "precision" where the
    device has several tables; at least three networks. Searches keep the revision that they used,
    and are no longer `current`.
    """
    catalog.devices.check_changeable(name)
    corrected = correct_device(catalog, name, measurements)
    return describe_correction(catalog, corrected)

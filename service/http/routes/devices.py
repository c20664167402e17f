"""Devices: list, read, add, correct by measurements."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from service.catalog import (
    correct_device,
    describe_correction,
    describe_device,
    read_profile,
    summarize_devices,
)
from service.contracts import (
    CorrectionRead,
    DescribedAs,
    DeviceList,
    DeviceProfile,
    DeviceRead,
    Measurements,
)
from service.http.dependencies import CatalogDep, NamePath
from service.http.problems import problems
from service.http.scopes import requires
from service.http.strict_json import StrictRoute

router = APIRouter(prefix="/v1", responses=problems(422), route_class=StrictRoute)


@router.get("/devices", tags=["devices"])
@requires("read")
def list_devices(catalog: CatalogDep) -> DeviceList:
    """The devices of this installation."""
    return DeviceList(items=summarize_devices(catalog.devices))


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
    name: NamePath,
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

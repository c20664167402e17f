"""Supernets, devices and their fronts over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from latency_tables.table import Precision
from service import fronts
from service.dependencies import ServiceDep
from service.descriptions import (
    describe_correction,
    describe_device,
    describe_supernet,
    summarize_devices,
    summarize_supernets,
)
from service.device_schemas import CorrectionRead, DeviceList, DeviceProfile, DeviceRead
from service.errors import problems
from service.profiles import correct_device, read_profile
from service.schemas import FrontRead, SupernetList, SupernetRead
from service.strict import StrictRoute

router = APIRouter(prefix="/v1", responses=problems(422), route_class=StrictRoute)


@router.get("/supernets", tags=["supernets"])
def list_supernets(service: ServiceDep) -> SupernetList:
    """The supernets of this installation."""
    return SupernetList(items=summarize_supernets(service.catalog))


@router.get("/supernets/{name}", tags=["supernets"], responses=problems(404))
def read_supernet(name: str, service: ServiceDep) -> SupernetRead:
    """One supernet: its space, its predictor, its card."""
    return describe_supernet(service.catalog, name)


@router.get("/devices", tags=["devices"])
def list_devices(service: ServiceDep) -> DeviceList:
    """The devices of this installation."""
    return DeviceList(items=summarize_devices(service.catalog))


@router.get("/devices/{name}", tags=["devices"], responses=problems(404))
def read_device(name: str, service: ServiceDep) -> DeviceRead:
    """One device: its latency tables without their entries, and what is odd about them."""
    return describe_device(service.catalog, name)


@router.post("/devices", tags=["devices"], status_code=201, responses=problems(409))
def add_device(profile: DeviceProfile, response: Response, service: ServiceDep) -> DeviceRead:
    """Keep a device profile under its name.

    Its table is looked over first: what is wrong with it is refused (422, with every reason), what
    is odd about it is in the answer.
    """
    table = read_profile(service.catalog, profile.model_dump(exclude_unset=True))
    service.catalog.keep_device(table)
    response.headers["Location"] = f"/v1/devices/{table.device}"
    return describe_device(service.catalog, table.device)


@router.post("/devices/{name}/measurements", tags=["devices"], responses=problems(404))
def add_measurements(
    name: str, measurements: Annotated[dict[str, Any], Body()], service: ServiceDep
) -> CorrectionRead:
    """Correct a device's table by whole networks timed on it: a new revision.

    `{"arch": [...], "latency_ms": [...], "batch": 1}`, with "space" and "precision" where the
    device has several tables; at least three networks. Searches keep the revision that they used,
    and are no longer `current`.
    """
    corrected = correct_device(service.catalog, name, measurements)
    return describe_correction(service.catalog, corrected)


@router.get("/supernets/{name}/devices/{device}/front", tags=["supernets"], responses=problems(404))
def read_front(
    name: str,
    device: str,
    service: ServiceDep,
    latency_ms: Annotated[
        float | None,
        Query(gt=0, allow_inf_nan=False, description="Only the best within this latency."),
    ] = None,
    precision: Annotated[
        Precision | None, Query(description="Of the device's table; fp32 before others.")
    ] = None,
    layers: Annotated[bool, Query(description="Also every network's layers.")] = False,
) -> FrontRead:
    """Every network that none is both faster and more accurate than."""
    pairing = service.catalog.pairing(name, device, precision)
    home = service.catalog.home
    return FrontRead(**fronts.read_front(home, pairing, latency_ms, layers=layers))

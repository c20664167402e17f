"""Supernets: list, read, remove, their fronts on devices, their energy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from latency_tables.benchmark import MeasureOptions
from latency_tables.table import Precision
from service.catalog import (
    FrontQuery,
    describe_supernet,
    describe_unseen,
    front_json,
    ledger,
    summarize_supernets,
)
from service.catalog.supernets import remove_supernet, sample_images
from service.contracts import (
    CONFIDENCE,
    Confidence,
    FrontRead,
    LedgerRead,
    PredictorPoints,
    SupernetList,
    SupernetRead,
    SupernetRemoved,
    SupernetSamples,
)
from service.http.dependencies import CatalogDep, DevicePath, NamePath, ServiceDep
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
    return describe_supernet(catalog, name, folders=False)


@router.delete("/supernets/{name}", tags=["supernets"], responses=problems(404, 409))
@requires("admin")
def delete_supernet(
    name: NamePath,
    service: ServiceDep,
    training: Annotated[
        bool, Query(description="Also the checkpoint of its training, which makes it again.")
    ] = False,
) -> SupernetRemoved:
    """Remove a supernet that was imported or trained: weights, predictor, images.

    Finished searches and their models stay. Refused while it is trained or searched, and for one
    that comes with the program.
    """
    return remove_supernet(service.settings.home, name, service.store, training=training)


@router.get("/supernets/{name}/predictor", tags=["supernets"], responses=problems(404))
@requires("read")
def read_predictor(name: NamePath, catalog: CatalogDep) -> PredictorPoints:
    """Predicted against measured accuracy of networks that the predictor was not fitted to."""
    return describe_unseen(catalog, name)


@router.get("/supernets/{name}/samples", tags=["supernets"], responses=problems(404))
@requires("read")
def read_samples(name: NamePath, service: ServiceDep) -> SupernetSamples:
    """A few small validation images of each class, from the supernet's bundle.

    The operator may keep them back (`SUBNET_SAMPLE_IMAGES=off`).
    """
    bundle = service.catalog.supernets.get(name)
    if not service.settings.sample_images:
        return SupernetSamples(items=[], why_none="this service shows none (SUBNET_SAMPLE_IMAGES)")
    return sample_images(bundle)


@router.get(
    "/supernets/{name}/devices/{device}/front",
    tags=["supernets"],
    response_model=FrontRead,
    responses={304: {"description": "If-None-Match holds the ETag"}, **problems(404)},
)
@requires("read")
def read_front(
    name: NamePath,
    device: DevicePath,
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
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if not_modified(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(answer.content, headers=headers, media_type="application/json")


@router.get("/supernets/{name}/ledger", tags=["supernets"], responses=problems(404))
@requires("read")
def read_ledger(
    name: NamePath,
    service: ServiceDep,
    devices: Annotated[
        int, Query(ge=1, le=10**9, description="Number of devices that get a network.")
    ] = 100,
    table_s: Annotated[
        float,
        Query(ge=0, le=1e7, allow_inf_nan=False, description="Measuring each device, seconds."),
    ] = MeasureOptions().target_s,
    power_w: Annotated[
        float | None,
        Query(
            gt=0, le=1e7, allow_inf_nan=False,
            description="Of a busy machine, watts; the training's mean if not given.",
        ),
    ] = None,
) -> LedgerRead:  # fmt: skip
    """Energy and CO2e of networks for many devices: one supernet against training each alone."""
    card = service.catalog.supernets.get(name).card
    worked = service.store.worked(name)
    found = ledger(card, worked, devices=devices, table_s=table_s, power_w=power_w)
    return LedgerRead(**found)

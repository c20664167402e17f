"""What a supernet's networks cost in energy, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from latency_tables.benchmark import MeasureOptions
from service.catalog import ledger
from service.http.dependencies import NamePath, ServiceDep
from service.http.problems import problems
from service.http.scopes import requires


class LedgerRead(BaseModel):
    """Energy of networks for many devices, of one supernet and trained one by one.

    Each entry has energy_kwh, and provenance and method: how it is known.
    """

    once: dict[str, dict[str, Any]] = Field(description="training, predictor_data.")
    per_device: dict[str, dict[str, Any]] = Field(description="table, search_and_delivery.")
    one_more_device: dict[str, float] = Field(
        description="energy_kwh, and how many times less that is than others, where known."
    )
    alone: dict[str, Any] | None = Field(description="Training one network alone.")
    alone_search: dict[str, Any] | None = Field(
        description="Searching for one where every candidate is trained."
    )
    devices: int
    total: dict[str, float] = Field(
        description="shared_kwh, alone_kwh, times_less, and CO2e in kg where it is known."
    )
    break_even_devices: int | None = Field(description="From how many devices on sharing pays.")
    co2e_kg_per_kwh: float | None
    missing: list[str] = Field(description="What was never measured, and what measures it.")


router = APIRouter(prefix="/v1", responses=problems(422))


@router.get("/supernets/{name}/ledger", tags=["supernets"], responses=problems(404))
@requires("read")
def read_ledger(
    name: NamePath,
    service: ServiceDep,
    devices: Annotated[
        int, Query(ge=1, le=10**9, description="How many devices get a network.")
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

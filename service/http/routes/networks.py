"""Networks that others published: list, read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.catalog.published import describe_network, summarize_networks
from service.contracts import NetworkList, NetworkRead
from service.http.dependencies import CatalogDep, NamePath
from service.http.problems import problems
from service.http.scopes import requires
from service.http.strict_json import StrictRoute

router = APIRouter(prefix="/v1", responses=problems(422), route_class=StrictRoute)


@router.get("/networks", tags=["networks"], responses=problems(404))
@requires("read")
def list_networks(
    catalog: CatalogDep,
    device: Annotated[
        str | None, Query(max_length=64, description="Only those that were searched for it.")
    ] = None,
) -> NetworkList:
    """The networks that the authors of Once-for-All published, each fine-tuned for one device,
    beside what is predicted of them here."""
    return NetworkList(items=summarize_networks(catalog, device))


@router.get("/networks/{id}", tags=["networks"], responses=problems(404))
@requires("read")
def read_network(id: NamePath, catalog: CatalogDep) -> NetworkRead:
    """One published network and its files."""
    return describe_network(catalog, id)

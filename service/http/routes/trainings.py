"""Trainings: list, read."""

from __future__ import annotations

from fastapi import APIRouter

from service.catalog import describe_training, summarize_trainings
from service.contracts import TrainingList, TrainingRead
from service.http.dependencies import CatalogDep, NamePath
from service.http.problems import problems
from service.http.scopes import requires
from service.http.strict_json import StrictRoute

router = APIRouter(prefix="/v1", responses=problems(422), route_class=StrictRoute)


@router.get("/trainings", tags=["supernets"])
@requires("read")
def list_trainings(catalog: CatalogDep) -> TrainingList:
    """The trainings of this installation: running ones first, then the latest."""
    return TrainingList(items=list(summarize_trainings(catalog.home)))


@router.get("/trainings/{name}", tags=["supernets"], responses=problems(404))
@requires("read")
def read_training(name: NamePath, catalog: CatalogDep) -> TrainingRead:
    """One training, with the accuracy of a few subnets so far."""
    return describe_training(catalog.home, name)

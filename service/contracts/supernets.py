"""Answers about supernets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Capabilities(BaseModel):
    """What a supernet can be used for now."""

    search: bool = Field(description="It has an accuracy predictor.")
    deliver: bool = Field(
        description="It has weights, and images to recalibrate batch norms with: models are built."
    )
    verify: bool = Field(description="It has weights: finished models are compared with them.")


class NextStepRead(BaseModel):
    """A command of the machine of the service that makes a supernet good for more."""

    adds: list[Literal["search", "deliver", "verify"]]
    command: str
    needs: str = Field(description="What it takes besides a network; empty for nothing.")


class SupernetRead(BaseModel):
    """A supernet."""

    name: str
    sha256: str = Field(description="Of its weights; empty where none were imported.")
    space: dict[str, Any] = Field(description="Every choice that its networks can make.")
    architectures: int = Field(description="Exact number of different networks.")
    predictor: dict[str, Any] | None = Field(
        description="The accuracy predictor: what it was fitted on and its expected error."
    )
    card: dict[str, Any] = Field(description="Data, recipe, measured metrics, energy, licence.")
    capabilities: Capabilities | None = Field(
        None, description="What it can be used for now; null from older services."
    )
    next_steps: list[NextStepRead] = Field([], description="What adds the rest, in order.")


class SupernetSummary(BaseModel):
    """A supernet in a list."""

    name: str
    sha256: str
    space: str = Field(description="Name of its search space.")
    architectures: int
    searchable: bool = Field(description="Whether it has an accuracy predictor.")
    capabilities: Capabilities | None = Field(
        None, description="What it can be used for now; null from older services."
    )
    next_steps: list[NextStepRead] = Field([], description="What adds the rest, in order.")


class SupernetList(BaseModel):
    """The supernets of this installation."""

    items: list[SupernetSummary]


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

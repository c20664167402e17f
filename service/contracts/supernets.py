"""Answers about supernets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


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


class SupernetSummary(BaseModel):
    """A supernet in a list."""

    name: str
    sha256: str
    space: str = Field(description="Name of its search space.")
    architectures: int
    searchable: bool = Field(description="Whether it has an accuracy predictor.")


class SupernetList(BaseModel):
    """The supernets of this installation."""

    items: list[SupernetSummary]

"""Architectures as requests and answers write them, a model for each kind of space."""

from __future__ import annotations

from pydantic import BaseModel, Field


class MobileArch(BaseModel):
    """A network of a MobileNet space: one inner list a stage, one entry an active block."""

    resolution: int = Field(description="Input height and width, pixels.")
    depth: list[int] = Field(description="Active blocks of each stage.")
    kernel: list[list[int]] = Field(description="Depthwise kernel size of each active block.")
    expand: list[list[int]] = Field(description="Expansion ratio of each active block.")


class ResnetArch(BaseModel):
    """A network of a ResNet space: one inner list a stage, one entry an active block."""

    resolution: int = Field(description="Input height and width, pixels.")
    depth: list[int] = Field(description="Blocks beyond the least, after 1 or 0 for the stem's.")
    width: list[float] = Field(description="Width multipliers: inner stem, outer stem, stages.")
    expand: list[list[float]] = Field(description="Middle channels per output channel.")


Arch = MobileArch | ResnetArch

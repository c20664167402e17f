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


class OfaMobileArch(BaseModel):
    """A network of a MobileNet space as Once-for-All writes it, which requests take too: an entry
    for each block of the deepest network. Entries of blocks beyond `d` are ignored."""

    ks: list[int] = Field(description="Depthwise kernel size of each block.")
    e: list[int] = Field(description="Expansion ratio of each block.")
    d: list[int] = Field(description="Active blocks of each stage.")
    r: int = Field(description="Input height and width, pixels; also `image_size`.")


class OfaResnetArch(BaseModel):
    """A network of a ResNet space as Once-for-All writes it, which requests take too: an entry for
    each block of the deepest network. Entries of blocks beyond `d` are ignored."""

    d: list[int] = Field(description="Blocks beyond the least, after the largest of them or 0.")
    e: list[float] = Field(description="Middle channels per output channel of each block.")
    w: list[int] = Field(description="Positions among the multipliers: stem twice, stages.")
    image_size: int = Field(description="Input height and width, pixels; also `r`.")


class Measurements(BaseModel):
    """Whole networks and their times on a device."""

    arch: list[MobileArch | ResnetArch | OfaMobileArch | OfaResnetArch]
    latency_ms: list[float] = Field(description="Of one batch, a time for each network.")
    batch: int = Field(1, description="Images of one forward pass: that of the device's table.")
    space: str | None = Field(
        None, description="Of the table to correct, where the device has several."
    )
    precision: str | None = Field(
        None, description="Of the table to correct, where the device has several."
    )

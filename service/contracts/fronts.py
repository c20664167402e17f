"""Answers about networks of a supernet on a device: the front, and explanations."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from service.contracts.fields import Arch
from service.contracts.latency import BATCH, RUNTIME
from service.contracts.limits import LimitNumbers


class FrontPoint(LimitNumbers):
    """A network that none is both faster and more accurate than."""

    latency_ms: float = Field(
        description="Predicted from the device's table, for all images of a batch."
    )
    latency_ms_per_image: float | None = Field(
        None, description="`latency_ms` divided by `batch`: what a single image takes of a batch."
    )
    latency_upper_ms: float | None = Field(
        None,
        description="Upper bound of the latency at the nominal confidence in "
        "`provenance.latency_upper_ms`; null where no networks were measured on the device.",
    )
    top1: float = Field(description="Predicted accuracy, percent.")
    arch: Arch
    macs: int = Field(description="Multiply-accumulates of one image, exact.")
    params: int = Field(description="Trainable values, exact.")
    model_bytes: int = Field(
        description="Size of the ONNX file at the precision asked, estimated: an upper bound, "
        "its metadata included."
    )
    peak_memory_bytes: int = Field(
        description="Largest sum of activations alive together, estimated, at the precision asked."
    )
    energy_mj: float | None = Field(
        None, description="Energy of one image, estimated, where the device states its power."
    )


class FrontLayers(BaseModel):
    """What the networks of a front are made of. Neighbours share most of their layers."""

    known: list[dict[str, Any]] = Field(
        description="Each layer that occurs: name, kind, shape, predicted latency_ms, macs, params."
    )
    points: list[list[int]] = Field(
        description="For each point its layers, image to logits, as positions in `known`."
    )


class FrontRead(BaseModel):
    """All trade-offs of a supernet on a device."""

    points: list[FrontPoint] = Field(description="Sorted by latency.")
    layers: FrontLayers | None = Field(None, description="With `?layers=true`.")
    network_overhead_ms: float = Field(
        description="What a latency has beyond the sum of its layers."
    )
    batch: int = Field(1, description=BATCH)
    runtime: str | None = Field(None, description=RUNTIME)
    method: str
    expected_error: dict[str, float | None] = Field(
        description="Of latency_ms, a fraction of it; of top1, percentage points."
    )
    provenance: dict[str, Any] = Field(description="Where the numbers come from.")
    warnings: list[str] = Field([], description="What to know before trusting the numbers.")


class Explanation(LimitNumbers):
    """Why a network is what it is on a device. All numbers are predicted but the exact ones."""

    arch: Arch
    top1: float | None = Field(description="Predicted accuracy, percent.")
    latency_ms: float = Field(
        description="Predicted from the device's table, for all images of a batch."
    )
    batch: int = Field(1, description=BATCH)
    runtime: str | None = Field(None, description=RUNTIME)
    latency_ms_per_image: float | None = Field(
        None, description="`latency_ms` divided by `batch`: what a single image takes of a batch."
    )
    macs: int
    params: int
    peak_memory_bytes: int
    energy_mj: float | None = None
    footprint: dict[str, Any] = Field(description="As a search's result has it.")
    layers: list[dict[str, Any]] = Field(description="As a search's result has them.")
    network_overhead_ms: float = Field(description="What a network takes beyond its layers.")
    prices: dict[str, Any] = Field(description="As a search's result has them.")
    more_time: list[dict[str, Any]] = Field(
        description="The front's best with 5, 10, 25 and 50 % and with 1 ms more: extra_ms, arch, "
        "latency_ms, top1, and its gain over the front's best without, percentage points."
    )
    provenance: dict[str, Any] = Field(description="Where the numbers come from.")
    warnings: list[str] = Field([], description="What was ignored of the architecture asked for.")

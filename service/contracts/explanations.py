"""Answers that explain a network on a device."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from service.contracts.architectures import Arch


class Explanation(BaseModel):
    """Why a network is what it is on a device. All numbers are predicted but the exact ones."""

    arch: Arch
    top1: float | None = Field(description="Predicted accuracy, percent.")
    latency_ms: float = Field(description="Predicted from the device's table.")
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

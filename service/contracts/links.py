"""Requests and answers about links: one-time addresses by which another device measures itself, or
tries a finished model, in its browser."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.contracts.fields import Name, Schema

Backend = Literal["wasm", "webgpu"]
LinkStatus = Literal["open", "opened", "running", "succeeded", "failed", "expired", "cancelled"]
ENDED = ("succeeded", "failed", "expired", "cancelled")
"""Statuses that a link stays in."""
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Line = Annotated[str, Field(min_length=1, max_length=300)]


class LinkRequest(Schema):
    """Make an address that one other device opens once: `supernet`, to measure the device, or
    `search`, to try the model of a finished search on it."""

    supernet: Name | None = Field(None, description="A name from /v1/supernets.")
    device: Name | None = Field(
        None,
        description="Name of the new device; null: what the browser says of itself, such as "
        "`android-phone`. With WebGPU, `NAME-webgpu` is added too.",
    )
    mode: Literal["quick", "thorough"] = Field(
        "quick",
        description="quick: a table fitted to 24 whole networks, within a minute. thorough: every "
        "layer timed, as a measuring kit does.",
    )
    precision: Literal["fp32", "int8"] = "fp32"
    backends: Annotated[list[Backend], Field(min_length=1, max_length=2)] = Field(
        ["wasm"], description="What runs the networks: each is a device of its own."
    )
    threads: int = Field(
        1, strict=True, ge=1, le=64, description="Of WASM; more than one needs HTTPS."
    )
    replace: bool = Field(False, strict=True, description="Replace tables of yours.")
    shared: bool | None = Field(
        None,
        strict=True,
        description="Whether everybody with a key sees the device; null: as it is of the table "
        "that is replaced, else yours alone.",
    )
    search: str | None = Field(
        None, min_length=1, max_length=64, description="Id of a finished search, alone."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"supernet": "fashion-mbv3", "device": "my-phone"}]}
    )

    @model_validator(mode="after")
    def _has_one_purpose(self) -> Self:
        if (self.supernet is None) == (self.search is None):
            raise ValueError("expected one of supernet and search")
        if self.search is not None and self.model_fields_set != {"search"}:
            raise ValueError("expected search alone: the model and its device say the rest")
        if len(set(self.backends)) != len(self.backends):
            raise ValueError("backends: expected each once")
        return self


class LinkNetwork(Schema):
    """A network that was timed on the device."""

    macs: Amount
    latency_ms: Amount


class LinkProgress(Schema):
    """How far the device is."""

    phase: Line
    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    seconds_left: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    backend: Backend | None = None
    networks: Annotated[list[LinkNetwork], Field(max_length=64)] = []
    speed: Annotated[list[Amount], Field(max_length=400)] = Field(
        [], description="Relative time of the canary network, a number a round."
    )
    warnings: Annotated[list[Line], Field(max_length=10)] = []


class LinkProgressRead(LinkProgress):
    """How far the device is, and when it said so."""

    updated_at: datetime


class LinkRead(BaseModel):
    """A link as its owner sees it."""

    id: str
    purpose: Literal["measure", "try"]
    status: LinkStatus
    url: str | None = Field(
        description="What the device opens, once; the code is after `#`, so that no server logs "
        "it. Null in every answer but the first: it is stored as a hash."
    )
    code: str | None = Field(description="As `url`.")
    qr_svg: str | None = Field(description="`url` as a QR code; as `url`.")
    created_at: datetime
    expires_at: datetime = Field(
        description="Until then it can be opened; once it is opened, when the session ends."
    )
    supernet: str | None
    device: str | None
    mode: Literal["quick", "thorough"] | None
    precision: str
    backends: list[Backend]
    threads: int
    search: str | None
    progress: LinkProgressRead | None
    devices: list[str] = Field(description="Names that were stored.")
    try_result: dict[str, Any] | None
    warnings: list[str]
    error: str | None


class LinkClaim(Schema):
    """What a device knows of a link."""

    code: str = Field(min_length=1, max_length=100)


class LinkTask(BaseModel):
    """What a device is to do."""

    purpose: Literal["measure", "try"]
    supernet: str | None
    device: str | None
    mode: Literal["quick", "thorough"] | None
    precision: str
    backends: list[Backend]
    threads: int
    batch: int
    target_s: float
    search: dict[str, Any] | None = Field(
        description="Of a model to try: id, latency_ms (predicted), budget_ms, top1 (predicted)."
    )


class LinkSessionRead(BaseModel):
    """A session as the device sees it."""

    task: LinkTask
    status: LinkStatus


class LinkSessionCreated(LinkSessionRead):
    """A new session and its secret, which is shown once."""

    session: str = Field(description="For the header Link-Session.")


class LinkSessionStatus(BaseModel):
    """What became of a session: the device stops unless it is opened or running."""

    status: LinkStatus


class LinkPlanRead(BaseModel):
    """What to time, as a measuring kit's `kit.json` has it, with models by number."""

    id: str
    space: str
    runtime: str
    precision: str
    batch: int
    rounds: dict[str, Any]
    timings: dict[str, dict[str, int]]
    networks: dict[str, dict[str, float]]
    models: list[dict[str, Any]]
    canary: int
    target_s: float
    min_sample_ms: float


class LinkResultRead(BaseModel):
    """What became of a device's times."""

    devices: list[str] = Field(description="Names that are stored.")
    warnings: list[str]
    expected_error: float | None = Field(
        None, description="Mean relative error of whole networks, each predicted without itself."
    )
    origin: Literal["measured", "fitted"] | None = None
    source: str | None = Field(None, description="How the table was made; names its donor.")
    try_result: dict[str, Any] | None = None

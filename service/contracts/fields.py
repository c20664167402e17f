"""Types of fields that several requests and answers share; architectures as they are written, a
model for each kind of space."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue

from service.contracts.timestamps import read_moment

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$")]
DeviceName = Annotated[
    str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}(@[a-zA-Z0-9._@-]{1,64})?$")
]
"""NAME, or NAME@OWNER for the private device of an owner."""
Moment = Annotated[
    datetime,
    BeforeValidator(read_moment),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
]
Confidence = Annotated[float, Field(ge=0.5, lt=1)]
CONFIDENCE = (
    "Nominal confidence, such as 0.9, of the upper bound of the latency, which latency_ms then "
    "limits. With n networks measured on the device, at most n / (n + 1)."
)
MAX_BATCH = 1024
"""Images that a file can be fixed to."""
FileBatch = Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH)] | Literal["dynamic"]
Budget = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class DescribedAs:
    """Annotation of a field that is plain data, and checked where it is used: the description of
    the API shows this model."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(
        self, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(self.model.__pydantic_core_schema__)


class Schema(BaseModel):
    """Base of requests: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


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
    runtime: str | None = Field(
        None,
        description="What ran them; refused if the device is measured with another. Default: the "
        "device's.",
    )
    space: str | None = Field(
        None, description="Of the table to correct, where the device has several."
    )
    precision: str | None = Field(
        None, description="Of the table to correct, where the device has several."
    )

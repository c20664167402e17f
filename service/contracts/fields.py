"""Types of fields that several requests and answers share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

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

"""Limits in requests and answers: a field for each entry of the registry `search.costs.limits`.

The registry is read when a request is checked and when the API is described, so a limit that was
registered after this module was imported counts too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from search.costs import Limit, registered_limits
from service.contracts.fields import CONFIDENCE, Budget, Confidence


def limit_names() -> list[str]:
    """Every registered limit, in order."""
    return list(registered_limits())


class Constraints(BaseModel):
    """Upper limits, all of which a network must meet."""

    model_config = ConfigDict(extra="allow")  # the registered limits, as `_check_limits` reads them

    latency_confidence: Confidence | None = Field(None, strict=True, description=CONFIDENCE)

    @model_validator(mode="wrap")
    @classmethod
    def _check_limits(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, cls):
            given = _checked_fields().model_validate(given).model_dump(exclude_none=True)
        return handler(given)

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        limits = self.limits()
        if not limits.keys() - {"latency_confidence"}:
            raise ValueError("expected at least one limit, such as latency_ms")
        if "latency_confidence" in limits and "latency_ms" not in limits:
            raise ValueError("latency_confidence: expected it with latency_ms")
        return self

    def limits(self) -> dict[str, float]:
        """The given limits in the order of the registry, then latency_confidence if given."""
        given = self.model_dump(exclude_none=True)
        names = (*limit_names(), "latency_confidence")
        return {name: given[name] for name in names if name in given}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        fields = _checked_fields().model_json_schema()
        return {**schema, **{key: fields[key] for key in ("properties", "additionalProperties")}}


class LimitNumbers(BaseModel):
    """An answer with a number for each limit: a declared field, or one for a further limit.

    A client keeps the numbers of limits that are registered only where the service runs.
    """

    model_config = ConfigDict(extra="allow")

    def limit_numbers(self) -> dict[str, float | None]:
        """By limit, in the order of the registry, then those that only the answer names."""
        further = (n for n, v in (self.model_extra or {}).items() if isinstance(v, int | float))
        return {name: getattr(self, name, None) for name in (*limit_names(), *further)}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema.pop("additionalProperties", None)
        for name, limit in registered_limits().items():
            if name not in cls.model_fields and not limit.in_file:
                number = {"type": "integer" if limit.is_integer else "number"}
                about = f"{limit.description.removesuffix('.')}, {limit.origin}."
                schema["properties"][name] = {
                    "anyOf": [number, {"type": "null"}],
                    "title": limit.label,
                    "description": about,
                }
        return schema


def _checked_fields() -> type[BaseModel]:
    return _fields_of(tuple(registered_limits().values()))


@lru_cache(maxsize=4)
def _fields_of(limits: tuple[Limit, ...]) -> type[BaseModel]:
    """`Constraints` with a declared field for each limit, and no others."""
    budgets = {
        limit.name: (Budget | None, Field(None, description=limit.description)) for limit in limits
    }
    confidence = (Confidence | None, Field(None, strict=True, description=CONFIDENCE))
    fields: dict[str, Any] = {**budgets, "latency_confidence": confidence}
    return create_model("Constraints", __config__=ConfigDict(extra="forbid"), **fields)

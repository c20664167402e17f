"""Limits in requests and answers: a field for each entry of the registry `search.costs.limits`;
and what else a search is asked for: a target, frozen parts, an effort.

The registry is read when a request is checked and when the API is described, so a limit that was
registered after this module was imported counts too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from models.errors import InputError, show_value
from search.costs import Limit, registered_limits
from service.contracts.fields import CONFIDENCE, Budget, Confidence, Schema

LimitValue = float | str | Mapping[str, float | str]
"""A number, a share of the largest network ("60%"), or a range: `{"min", "max"}`, one or both."""
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,12})?) ?%")
_ENDS = ("min", "max")


def read_share(text: str) -> float:
    """The share, 0 to 1, that "60%" is.

    Raises:
        InputError: if it is none, or not above 0 and up to 100 %.
    """
    matched = _SHARE.fullmatch(text.strip())
    share = float(matched[1]) / 100 if matched else 0.0
    if not 0 < share <= 1:
        raise InputError(
            'expected a number, a share of the largest network such as "60%" (above 0, up to 100), '
            f'or a range {{"min": ..., "max": ...}}, got {show_value(text)}'
        )
    return share


def _limit_value(given: Any, as_number: ValidatorFunctionWrapHandler) -> LimitValue:
    if not isinstance(given, Mapping):
        return _share(given) if isinstance(given, str) else float(as_number(given))
    ends = {end: given[end] for end in _ENDS if given.get(end) is not None}
    if not given.keys() <= set(_ENDS) or not ends:
        raise ValueError('expected "min", "max" or both: {"min": 20, "max": 25}')
    return {e: _share(v) if isinstance(v, str) else float(as_number(v)) for e, v in ends.items()}


def _share(text: str) -> str:
    read_share(text)
    return "".join(text.split())


_NUMBER_SCHEMA = {"type": "number", "exclusiveMinimum": 0.0}
_SHARE_SCHEMA = {
    "type": "string",
    "pattern": "^ *[0-9]{1,3}([.][0-9]{1,12})? ?% *$",
    "description": "Share of what the largest network of the supernet has on the device.",
}
_END_SCHEMA = {"anyOf": [_NUMBER_SCHEMA, _SHARE_SCHEMA]}
_RANGE_SCHEMA = {
    "type": "object",
    "properties": {"min": _END_SCHEMA, "max": _END_SCHEMA},
    "additionalProperties": False,
    "minProperties": 1,
}
LimitField = Annotated[
    Budget,
    WrapValidator(_limit_value),
    PlainSerializer(lambda value: value, return_type=Any),
    WithJsonSchema({"anyOf": [_NUMBER_SCHEMA, _SHARE_SCHEMA, _RANGE_SCHEMA]}),
]


def limit_names() -> list[str]:
    """Every registered limit, in order."""
    return list(registered_limits())


class Constraints(BaseModel):
    """Limits, all of which a network must meet: a number is an upper limit in the unit of its name;
    "60%" is a share of what the supernet's largest network has on the device; and `{"min", "max"}`
    a range of either."""

    model_config = ConfigDict(extra="allow")  # the registered limits, as `_check_limits` reads them

    latency_confidence: Confidence | None = Field(None, strict=True, description=CONFIDENCE)

    @model_validator(mode="wrap")
    @classmethod
    def _check_limits(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, cls):
            given = _checked_fields().model_validate(given).model_dump(exclude_none=True)
        return handler(given)

    @model_validator(mode="after")
    def _confidence_of_latency(self) -> Self:
        limits = self.limits()
        if "latency_confidence" in limits and "latency_ms" not in limits:
            raise ValueError("latency_confidence: expected it with latency_ms")
        return self

    def limits(self) -> dict[str, Any]:
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
        limit.name: (LimitField | None, Field(None, description=limit.description))
        for limit in limits
    }
    confidence = (Confidence | None, Field(None, strict=True, description=CONFIDENCE))
    fields: dict[str, Any] = {**budgets, "latency_confidence": confidence}
    return create_model("Constraints", __config__=ConfigDict(extra="forbid"), **fields)


def limit_in_words(name: str, value: object, at_most: str = "") -> str:
    """One limit, for people: "latency_ms 20", "latency_ms 60%", "latency_ms 20 to 25".

    Args:
        at_most: written before an upper limit.
    """
    ends = value if isinstance(value, Mapping) else {"max": value}
    low, high = (f"{e:g}" if isinstance(e, int | float) else e for e in map(ends.get, _ENDS))
    if low is None:
        return f"{name} {at_most}{high}"
    return f"{name} at least {low}" if high is None else f"{name} {low} to {high}"


def asked_in_words(request: Mapping[str, Any], at_most: str = "") -> str:
    """What a stored request asks for, for people: limits as given, target, frozen parts, effort.

    Args:
        at_most: written before an upper limit.
    """
    limits: Mapping[str, Any] = request.get("asked") or request["constraints"]
    words = [limit_in_words(name, value, at_most) for name, value in limits.items()]
    if target := request.get("target"):
        words.insert(0, f"least {target['minimize']} at top1 {target['top1']:g}")
    for key, choices in (request.get("frozen") or {}).items():
        shown = ",".join(f"{c:g}" if isinstance(c, int | float) else c for c in choices)
        words.append(f"{key}={shown}")
    if effort := request.get("effort"):
        words.append(f"{effort} effort")
    return ", ".join(words)


Effort = Literal["quick", "normal", "thorough"]
"""As `search.evolution.Effort`, which a client may do without."""


class TargetRequest(Schema):
    """Ask for the cheapest network of at least an accuracy."""

    top1: float = Field(
        strict=True,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Least predicted accuracy, percent. What a network has differs from it by the "
        "expected error in `provenance.top1`.",
    )
    minimize: str = Field(
        "latency_ms",
        min_length=1,
        max_length=64,
        description="The quantity to minimize, by the name of its limit.",
    )


FROZEN = (
    "Parts that are fixed: the choices kept of some genes, one or a list. Keys name every gene of "
    "a kind (`resolution`, `kernel`, `expand`, `depth`, `width`), those of a stage "
    "(`stage2.kernel`) or a block (`stage2_block3.kernel`), counted from 1. `stage2.blocks` lists "
    'the blocks of a stage, kernel x expansion: `["5x4", "7x6"]`.'
)
_CHOICE = {"anyOf": [{"type": "number"}, {"type": "string"}]}
FrozenChoices = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [*_CHOICE["anyOf"], {"type": "array", "items": _CHOICE, "minItems": 1}]
            },
            "minProperties": 1,
            "maxProperties": 1000,
            "examples": [{"resolution": 24, "kernel": [3, 5], "stage2.depth": 3}],
        }
    ),
]
"""Checked against the genes of the supernet's space when the request is submitted."""

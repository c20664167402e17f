"""JSON read strictly: an error names the place, what was expected there and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import InputError, show_value
from models.schema import NotStrict, parse_strict


def load_strict(content: str | bytes) -> object:
    """The value of a file's JSON text.

    Raises:
        InputError: if it is no JSON, or ambiguous.
    """
    try:
        return parse_strict(content)
    except NotStrict as error:
        raise InputError(f"JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"JSON: not readable ({error})") from error


def expect_object(
    value: object,
    where: str,
    required: Sequence[str] | None = None,
    optional: Sequence[str] = (),
) -> Mapping[str, Any]:
    """An object with all `required` fields and none beyond; any fields if that is None."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected an object, got {show_value(value)}")
    if strange := [key for key in value if not isinstance(key, str)]:
        raise InputError(f"{where}: expected text as keys, got {show_value(strange[0])}")
    if required is not None:
        known = (*required, *optional)
        if missing := [field for field in required if field not in value]:
            raise InputError(f"{where}: field {missing[0]!r} is missing; expected {required}")
        if unknown := sorted(set(value) - set(known)):
            raise InputError(f"{where}: unknown field {unknown[0][:80]!r}; expected {known}")
    return value


def expect_number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: expected a number, got {show_value(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{where}: expected a smaller number, got one beyond 1e308") from error


def expect_numbers(value: object, where: str) -> tuple[float, ...]:
    return tuple(
        expect_number(item, where) for item in expect_list([] if value is None else value, where)
    )


def expect_list(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list, got {show_value(value)}")
    return value


def expect_integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where}: expected an integer, got {show_value(value)}")
    return value


def expect_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: expected text, got {show_value(value)}")
    return value


def expect_truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{where}: expected true or false, got {show_value(value)}")
    return value

"""Moments in filters: a date, or a date and a time with its zone; and durations."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from models.errors import InputError

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(value: object) -> datetime:
    """A moment in UTC from ISO 8601: a date alone is its midnight in UTC, a time has its zone.

    Raises:
        InputError: if it is not a moment, or has no time zone.
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = _midnight(value)
    else:
        moment = _parse(value)
    if moment.tzinfo is None:
        raise InputError(f"{_expected(value)}: it says no time zone; add Z for UTC, or +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise InputError(f"{_expected(value)}: out of range") from error


def _parse(value: object) -> datetime:
    if not isinstance(value, str):
        raise InputError(_expected(value))
    text = value.strip().upper()
    try:
        return _midnight(date.fromisoformat(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        # A plus is a space in a URL, unless it is written %2B.
        lost = re.search(r" \d\d:?\d\d$", text) and "T" in text
        hint = "; in a URL write + as %2B" if lost else ""
        raise InputError(f"{_expected(value)}{hint}") from error


def read_since(text: str, now: Callable[[], datetime]) -> datetime:
    """A moment as `read_moment` takes it, or a time before `now`: 90m, 12h, 7d, 2w.

    Raises:
        InputError: if it is neither.
    """
    if (before := re.fullmatch(r"([0-9]{1,6})([mhdw])", text.strip())) is None:
        return read_moment(text)
    try:
        return now() - timedelta(**{UNITS[before[2]]: int(before[1])})
    except OverflowError as error:
        raise InputError(f"{_expected(text)}: out of range") from error


def read_duration(text: str) -> timedelta:
    """A duration: 90s, 10m, 12h, 7d, 2w.

    Raises:
        InputError: if it is not one.
    """
    if (given := re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())) is None:
        raise InputError(f"expected a duration such as 90s, 10m or 2h, got {text[:40]!r}")
    return timedelta(**{{"s": "seconds", **UNITS}[given[2]]: int(given[1])})


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _expected(value: object) -> str:
    return (
        "expected a date such as 2026-11-24 (midnight UTC), or a time with its zone such as "
        f"2026-11-24T09:30:00Z, got {str(value)[:40]!r}"
    )

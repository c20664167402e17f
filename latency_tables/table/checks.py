"""Checks of the values that a table is made of."""

from __future__ import annotations

from models.errors import InputError, show_value
from models.schema import MAX_TEXT, NAME_WORDS, is_name, is_text


def check_number(value: float, where: str, most: float, *, positive: bool = False) -> None:
    """Check that `value` is a finite number in 0..most, above 0 if `positive`.

    Raises:
        InputError: naming `where`.
    """
    enough = value > 0 if positive else value >= 0
    if not (enough and value <= most):  # false for NaN and infinity too
        least = "above 0 and" if positive else "from 0"
        # An integer of hundreds of digits is no float, so it cannot be formatted as one.
        got = show_value(value) if isinstance(value, int) else f"{value:g}"
        raise InputError(f"{where}: expected a finite number {least} up to {most:g}, got {got}")


def check_text(value: str, where: str) -> None:
    """Check that `value` is one line of at most `MAX_TEXT` printable characters.

    Raises:
        InputError: naming `where`.
    """
    if not is_text(value):
        raise InputError(
            f"{where}: expected one line of 1 to {MAX_TEXT} printable characters, "
            f"got {show_value(value)}"
        )


def check_name(value: str, where: str) -> None:
    """Check that `value` can name a device or a space, in a URL and in a file name alike.

    Raises:
        InputError: naming `where`.
    """
    if not is_name(value):
        raise InputError(f"{where}: expected {NAME_WORDS}, got {show_value(value)}")

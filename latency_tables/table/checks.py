"""Checks of the values that a table is made of."""

from __future__ import annotations

import re

from models.errors import InputError

MAX_TEXT = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_number(value: float, where: str, most: float, *, positive: bool = False) -> None:
    """Check that `value` is a finite number in 0..most, above 0 if `positive`.

    Raises:
        InputError: naming `where`.
    """
    enough = value > 0 if positive else value >= 0
    if not (enough and value <= most):  # false for NaN and infinity too
        least = "above 0 and" if positive else "from 0"
        raise InputError(f"{where}: expected a finite number {least} up to {most:g}, got {value:g}")


def check_text(value: str, where: str) -> None:
    """Check that `value` is one line of at most `MAX_TEXT` printable characters.

    Raises:
        InputError: naming `where`.
    """
    if not (value.strip() and value.isprintable() and len(value) <= MAX_TEXT):
        raise InputError(
            f"{where}: expected one line of 1 to {MAX_TEXT} printable characters, "
            f"got {value[:60]!r}"
        )


def check_name(value: str, where: str) -> None:
    """Check that `value` can name a device or a space, in a URL and in a file name alike.

    Raises:
        InputError: naming `where`.
    """
    if not _NAME.fullmatch(value):
        raise InputError(
            f"{where}: expected 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit, "
            f"got {value[:80]!r}"
        )

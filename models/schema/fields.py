"""Types of fields with their ranges, shared by everything that a user writes.

Ranges are in the vocabulary of `annotated_types`, which `validation` has pydantic check: a process
that reads no file does not load pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from annotated_types import Interval, Len, Predicate, doc

MAX_TEXT = 500
MAX_CHOICES = 255
"""Of one gene: a gene is an index of 8 bits."""
NAME_WORDS = "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
STRICT: Mapping[str, Any] = {"extra": "forbid", "allow_inf_nan": False}
"""What a dataclass that is read from a file has as `__pydantic_config__`."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
T = TypeVar("T")


def is_name(value: str) -> bool:
    """Whether `value` can name a device, a space or a supernet, in a URL and in a file name."""
    return _NAME.fullmatch(value) is not None


def is_text(value: str) -> bool:
    """Whether `value` is one line of printable characters that says something."""
    return bool(value.strip()) and value.isprintable() and len(value) <= MAX_TEXT


Name = Annotated[str, Predicate(is_name), doc(NAME_WORDS)]
Text = Annotated[str, Predicate(is_text), doc(f"one line of 1 to {MAX_TEXT} printable characters")]
Channels = Annotated[int, Interval(ge=1, le=65_536)]
Choices = Annotated[tuple[T, ...], Len(1, MAX_CHOICES)]
"""The choices of a gene."""

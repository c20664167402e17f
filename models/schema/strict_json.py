"""JSON that every parser reads in the same way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


class NotStrict(ValueError):
    """JSON that parsers read in different ways: NaN, infinity, or a field that is given twice."""


def parse_strict(content: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        NotStrict: if it is ambiguous.
        ValueError, RecursionError: as `json.loads` does.
    """
    return json.loads(content, parse_constant=_constant, object_pairs_hook=_object)


def _constant(word: str) -> object:
    raise NotStrict(f"expected finite numbers, got {word}")


def _object(items: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(items)
    if len(value) != len(items):
        repeated, _ = Counter(key for key, _ in items).most_common(1)[0]
        raise NotStrict(f"field {repeated[:80]!r} is given twice")
    return value

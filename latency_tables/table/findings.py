"""What a check of a table finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FindingKind = Literal[
    "space",
    "missing",
    "unit",
    "order",
    "spread",
    "additivity",
    "provider",
    "outlier",
    "trend",
    "bound",
    "drift",
    "import",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One error or warning."""

    kind: FindingKind
    is_error: bool
    text: str

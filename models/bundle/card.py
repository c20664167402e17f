"""What a bundle's `card.json` must hold.

Bundles are copied from machine to machine, and their cards are edited: a name of a file there must
not lead out of the bundle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from annotated_types import Interval, Predicate, doc

from models.errors import InvalidDocument, show_value
from models.schema import Name, read_member, validate
from models.spaces import SearchSpace, read_space

WEIGHTS, PREDICTOR = "weights.safetensors", "predictor.safetensors"
CALIBRATION, MEASURED = "calibration.npz", "measured.jsonl.gz"

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _is_file_name(value: str) -> bool:
    return _FILE.fullmatch(value) is not None


def _is_sha256(value: str) -> bool:
    return _SHA256.fullmatch(value) is not None


FileName = Annotated[str, Predicate(_is_file_name), doc("the name of a file, without a folder")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preprocess:
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Interval(gt=0)], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    """What every card has; it may have more."""

    name: Name
    files: dict[FileName, Annotated[str, Predicate(_is_sha256), doc("64 hexadecimal digits")]]
    preprocess: _Preprocess
    space: dict[str, Any]


def checked_card(value: object) -> Mapping[str, Any]:
    """A card from plain data; other fields than the needed ones may hold anything.

    Raises:
        InvalidDocument: naming each missing or impossible field.
    """
    if not isinstance(value, dict):
        raise InvalidDocument.at("card", (), f"expected an object, got {show_value(value)}")
    needed = [field.name for field in fields(_Card)]
    validate(_Card, {name: value[name] for name in needed if name in value}, "card")
    for name in ("data", "recipe", "metrics", "energy", "predictor"):
        if not isinstance(value.get(name, {}), dict):
            text = f"expected an object, got {show_value(value[name])}"
            raise InvalidDocument.at("card", (name,), text)
    return value


def space_of(card: Mapping[str, Any]) -> SearchSpace:
    """The space of a card.

    Raises:
        InvalidDocument: naming each missing, unknown or impossible field of it.
    """
    return read_member(card, "space", read_space, "card")

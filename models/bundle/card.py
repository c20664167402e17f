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

from models.data import Fit, PhotoFit
from models.errors import InvalidDocument, show_value
from models.schema import Name, read_member, validate
from models.spaces import SearchSpace, read_space

WEIGHTS, PREDICTOR = "weights.safetensors", "predictor.safetensors"
CALIBRATION, MEASURED = "calibration.npz", "measured.jsonl.gz"

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""Channel statistics that every network on ImageNet is trained with."""

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
    fit: Fit | None = None
    stored_size: Annotated[int, Interval(ge=1)] | None = None


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


def photo_fit_of(card: Mapping[str, Any], space: SearchSpace) -> PhotoFit:
    """How a supernet's photos become its networks' input.

    Earlier versions did not state it: supernets that were trained here saw whole images, stored at
    the largest resolution; others are published ones, which are evaluated on central crops.
    """
    stated = card["preprocess"]
    is_ours = "recipe" in card
    fit = stated.get("fit") or ("squeeze" if is_ours else "center_crop")
    stored = stated.get("stored_size", space.resolutions[-1] if is_ours else None)
    return PhotoFit(is_cropped=fit == "center_crop", stored_size=stored)


def published_card(space: SearchSpace) -> dict[str, Any]:
    """The card of a published supernet of which nothing is imported yet."""
    return {
        "format": 1,
        "name": space.name,
        "licence": "of the weights: see their publisher",
        "space": space.to_json(),
        "cardinality": space.cardinality,
        "preprocess": {"channels": 3, "interpolation": "bilinear", **IMAGENET},
        "data": {"name": "ImageNet-1k", "source": "arXiv 1409.0575"},
        "files": {},
    }

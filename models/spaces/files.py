"""Spaces as data: the registered families, the published spaces, and spaces in a user's file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import InvalidDocument, show_value
from models.registry import Registry
from models.schema import STRICT, read_toml, validate
from models.spaces.mobile import MobileSpace, StageSpec
from models.spaces.net_config import read_net_config
from models.spaces.plan import params
from models.spaces.resnet import ResNetSpace, ResNetStage
from models.spaces.space import SearchSpace

FOLDER = Path(__file__).with_name("published")
"""One file for each published supernet."""

MAX_WEIGHTS = 2**29
"""Of a network: an ONNX file holds 2 GiB."""

_FAMILIES: Registry[type[SearchSpace]] = Registry("space family")


def register_family(space_type: type[SearchSpace], stage_type: type) -> None:
    """Have spaces of a family read from cards, recipes and files.

    Args:
        space_type: a frozen dataclass whose `family` is the name. The annotations of its fields
            are what files are checked against, with ranges in the words of `annotated_types`.
        stage_type: the dataclass of one entry of its field `stages`, checked likewise.

    Raises:
        InputError: if another family has that name.
    """
    if not hasattr(stage_type, "__pydantic_config__"):
        stage_type.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    _FAMILIES.register(space_type.family, space_type)


def unregister_family(name: str) -> None:
    """Remove a family; there may be none of that name."""
    _FAMILIES.unregister(name)


register_family(MobileSpace, StageSpec)
register_family(ResNetSpace, ResNetStage)


def read_space(value: object) -> SearchSpace:
    """A space from plain data: a card, a recipe, a file of the user's.

    Raises:
        InvalidDocument: naming each missing, unknown or impossible field.
    """
    if not isinstance(value, Mapping):
        raise InvalidDocument.at("space", (), f"expected a table, got {show_value(value)}")
    fields = dict(value)
    family = fields.pop("family", MobileSpace.family)
    if not isinstance(family, str) or family not in _FAMILIES:
        text = f"expected one of {sorted(_FAMILIES)}, got {show_value(family)}"
        raise InvalidDocument.at("space", ("family",), text)
    space = validate(_FAMILIES[family], fields, "space")
    if (weights := params(space, space.largest)) > MAX_WEIGHTS:
        text = f"its largest network has {weights:.3g} weights, of which a model file holds 2^29"
        raise InvalidDocument.at("space", (), f"{text}: choose smaller widths or fewer blocks")
    return space


def load_space(path: Path) -> SearchSpace:
    """Read a space from a TOML file.

    Raises:
        InputError: if the file is not TOML or not a space, naming line and field.
        NotFound: if there is no such file.
    """
    return read_toml(path).read(read_space)


@cache
def published_spaces() -> Mapping[str, SearchSpace]:
    """The published supernets' spaces by name."""
    spaces = [load_space(path) for path in sorted(FOLDER.glob("*.toml"))]
    return {space.name: space for space in spaces}


def net_config_space(value: Mapping[str, Any]) -> SearchSpace:
    """The published space that a `net.config` is a network of (`models.spaces.net_config`).

    Raises:
        InvalidDocument: if it is of none; what is said is why it is not of the nearest.
    """
    refused: list[InvalidDocument] = []
    for space in published_spaces().values():
        try:
            read_net_config(value, space)
        except InvalidDocument as error:
            refused.append(error)
        else:
            return space
    raise max(refused, key=lambda error: (len(error.problems[0].path), -len(error.problems)))

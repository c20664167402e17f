"""Spaces as data: the registered families, the published spaces, and spaces in a user's file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import InputError, NotFound
from models.registry import Registry
from models.spaces.mobile import MobileSpace, StageSpec
from models.spaces.resnet import ResNetSpace, ResNetStage
from models.spaces.space import SearchSpace

FOLDER = Path(__file__).with_name("published")
"""One file for each published supernet."""

_FAMILIES: Registry[tuple[Callable[..., SearchSpace], type]] = Registry("space family")


def register_family(space_type: type[SearchSpace], stage_type: type) -> None:
    """Have spaces of a family read from cards, recipes and files.

    Args:
        space_type: a frozen dataclass whose `family` is the name.
        stage_type: the dataclass of one entry of its field `stages`.

    Raises:
        InputError: if another family has that name.
    """
    _FAMILIES.register(space_type.family, (space_type, stage_type))


def unregister_family(name: str) -> None:
    """Remove a family; there may be none of that name."""
    _FAMILIES.unregister(name)


register_family(MobileSpace, StageSpec)
register_family(ResNetSpace, ResNetStage)


def read_space(value: Mapping[str, Any]) -> SearchSpace:
    """A space from plain data: a card, a recipe, a file of the user's.

    Raises:
        InputError: naming the missing, unknown or impossible field.
    """
    fields = dict(value)
    family = fields.pop("family", MobileSpace.family)
    if family not in _FAMILIES:
        raise InputError(f"space.family: expected one of {sorted(_FAMILIES)}, got {family!r}")
    space_type, stage_type = _FAMILIES[family]
    try:
        stages = tuple(stage_type(**_tuples(stage)) for stage in fields.pop("stages"))
        return space_type(**_tuples(fields), stages=stages)
    except (KeyError, TypeError) as error:
        raise InputError(f"space: {error}; see docs/spaces.md for the fields of a space") from error


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list | tuple) else v for key, v in value.items()}


def load_space(path: Path) -> SearchSpace:
    """Read a space from a TOML file.

    Raises:
        InputError: if the file is not TOML or not a space.
        NotFound: if there is no such file.
    """
    try:
        return read_space(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise NotFound(f"space file {str(path)!r}: no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"space file {str(path)!r}: not a TOML file: {error}") from error


@cache
def published_spaces() -> Mapping[str, SearchSpace]:
    """The published supernets' spaces by name."""
    spaces = [load_space(path) for path in sorted(FOLDER.glob("*.toml"))]
    return {space.name: space for space in spaces}

"""Architectures in a user's files, in every form that is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError, InvalidDocument, show_value
from service.cli.common import print_warnings, read_json

if TYPE_CHECKING:
    from models.spaces import Arch, SearchSpace


def read_archs(path: Path, space: SearchSpace) -> list[Arch]:
    from models.schema import read_each
    from models.spaces import ArchReader

    reader = ArchReader(space)

    def read(value: object) -> list[Arch]:
        if isinstance(value, Mapping):
            return [reader(_with_image_size(value, path))]
        if not isinstance(value, list):
            text = f"expected a JSON list of architectures, got {show_value(value)}"
            raise InvalidDocument.at("archs", (), text)
        return read_each(value, reader, "archs")

    archs = read_json(path).read(read)
    print_warnings(f"{path}: {text}" for text in reader.warnings)
    return archs


def read_arch(path: Path, space: SearchSpace) -> Arch:
    from models.schema import read_member
    from models.spaces import ArchReader

    reader = ArchReader(space)

    def read(value: object) -> Arch:
        if isinstance(value, Mapping) and "arch" in value:
            return read_member(value, "arch", reader, "search")
        return reader(_with_image_size(value, path))

    arch = read_json(path).read(read)
    print_warnings(f"{path}: {text}" for text in reader.warnings)
    return arch


def _with_image_size(value: object, path: Path) -> object:
    """A `net.config` with the resolution, which its publisher put into the `run.config` beside it;
    any other value as it is."""
    from models.spaces import lacks_resolution

    beside = path.with_name("run.config")
    if not lacks_resolution(value) or not beside.is_file():
        return value
    run = read_json(beside).value
    assert isinstance(value, Mapping)
    if not isinstance(run, Mapping) or "image_size" not in run:
        raise InputError(f"{beside}: expected an object with 'image_size', the resolution")
    return {**value, "image_size": run["image_size"]}

"""Architectures of answers in another project's form (`--arch-format`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

ArchFormat = Annotated[
    Literal["ours", "ofa"],
    typer.Option(
        "--arch-format",
        help="How architectures are printed: ours, or ofa, which Once-for-All's "
        "`set_active_subnet` takes.",
    ),
]


def in_arch_format(answer: Any, arch_format: str, space: Mapping[str, Any]) -> Any:
    """An answer with every `arch` in it written in a format.

    Args:
        answer: JSON.
        space: that the architectures are of, as JSON.
    """
    if arch_format == "ours":
        return answer
    from models.spaces import Arch, read_space, to_ofa

    known = read_space(space)

    def rewritten(value: Any) -> Any:
        if isinstance(value, list):
            return [rewritten(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        return {
            name: to_ofa(known, Arch.from_json(item))
            if name == "arch" and isinstance(item, Mapping)
            else rewritten(item)
            for name, item in value.items()
        }

    return rewritten(answer)

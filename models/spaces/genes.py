"""The columns of a gene matrix, and what families check and round their choices with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from annotated_types import Interval, Len, Predicate, doc

from models.errors import InvalidDocument
from models.schema import Choices

GeneMatrix = npt.NDArray[np.uint8]
GeneName = Literal["resolution", "depth", "width", "kernel", "expand"]

T = TypeVar("T")


def _is_odd(value: int) -> bool:
    return value % 2 == 1


Resolutions = Choices[Annotated[int, Interval(ge=1, le=4096)]]
"""Pixels."""
KernelSize = Annotated[
    int, Interval(ge=1, le=31), Predicate(_is_odd), doc("an odd integer from 1 to 31")
]
Stride = Annotated[int, Interval(ge=1, le=2)]  # as a literal, 1 would take `true`
BlockCount = Annotated[int, Interval(ge=1, le=32)]
Multiplier = Annotated[float, Interval(ge=0.01, le=64)]
"""Of channels."""
Stages = Annotated[tuple[T, ...], Len(1, 32)]


@dataclass(frozen=True, slots=True)
class Gene:
    """One column of the gene matrix."""

    name: GeneName
    stage: int
    """Of a block's gene: the stage; of a depth or width: its position in the `Arch`."""
    block: int
    choices: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """Which genes say what a layer is, and for which depths it exists."""

    columns: tuple[int, ...]
    """Genes that decide its shape, ascending; not the depth."""
    depth: int | None = None
    """Column of the depth gene that can leave the layer out."""
    present: tuple[bool, ...] = ()
    """For each choice of that gene, whether the layer exists."""


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of `divisor`, never more than 10 % below `value`.

    Source: MobileNetV2/V3 reference definition, as used by OFA for every width.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def check_ascending(values: Sequence[float], *where: str | int, least: float = 1) -> None:
    """Check that choices are given as ascending positive numbers.

    Args:
        where: fields of a space, and positions in them.

    Raises:
        InvalidDocument: naming the field.
    """
    if not values or min(values) < least or list(values) != sorted(set(values)):
        kind = "numbers" if any(isinstance(value, float) for value in values) else "integers"
        raise InvalidDocument.at(
            "space", where, f"expected ascending positive {kind}, got {list(values)}"
        )

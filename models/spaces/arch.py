"""An architecture is a value: frozen, hashable, canonical, passed as an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models.errors import FieldPath, InvalidDocument, show_value
from models.registry import Registry

if TYPE_CHECKING:
    from models.spaces.space import SearchSpace

OwnField = Literal["kernel", "width"]
MAX_NUMBER = 1e300


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet. Inner tuples hold one entry per active block of the stage.

    MobileNet spaces have `kernel` and no `width`, ResNet spaces `width` and no `kernel`.
    """

    resolution: int
    """Input height and width, pixels."""
    depth: tuple[int, ...]
    """Active blocks of each stage; ResNet: blocks beyond the least, after 1 or 0 for the
    stem's residual convolution."""
    kernel: tuple[tuple[int, ...], ...]
    """Depthwise kernel size of each active block."""
    expand: tuple[tuple[float, ...], ...]
    """Expansion ratio of each active block; ResNet: middle channels per output channel."""
    width: tuple[float, ...] = ()
    """Width multipliers, ResNet only: inner stem, outer stem, stages."""

    def to_json(self) -> dict[str, Any]:
        """The form used in files, the API, ONNX metadata and the database."""
        family: dict[str, Any] = (
            {"width": list(self.width)}
            if self.width
            else {"kernel": [list(stage) for stage in self.kernel]}
        )
        return {
            "resolution": self.resolution,
            "depth": list(self.depth),
            **family,
            "expand": [list(stage) for stage in self.expand],
        }

    @classmethod
    def from_json(cls, value: object, own: OwnField | None = None) -> Arch:
        """Read the JSON form, or a registered one that needs no space; only its shape is checked
        here. `SearchSpace.read_arch` reads every form and checks the choices.

        Args:
            own: the field that the family has and others do not; default: the one that is there.

        Raises:
            InvalidDocument: naming the field, what was expected and what was found.
        """
        if (form := form_of(value)) is not None and not form.with_space:
            return form.read(value)
        if not isinstance(value, Mapping):
            raise _invalid((), f"expected an object, got {show_value(value)}")
        told = own or ("width" if "width" in value else None)
        expected = f"expected {' or '.join(_FIELDS[o] for o in ([told] if told else _FIELDS))}"
        own = told or "kernel"
        fields = ("resolution", "depth", own, "expand")
        if unknown := set(map(str, value)) - set(fields):
            raise _invalid((), f"unknown field {show_value(min(unknown))}; {expected}")
        if missing := [field for field in fields if field not in value]:
            raise _invalid((), f"field {missing[0]!r} is missing; {expected}")
        resolution = _integer(value["resolution"], "resolution")
        depth = _integers(value["depth"], "depth")
        expands = _sequence(value["expand"], "expand")
        if own == "width":
            width = _numbers(value["width"], "width")
            expand = tuple(_numbers(s, "expand", i) for i, s in enumerate(expands))
            return cls(resolution, depth, (), expand, width)
        kernels = _sequence(value["kernel"], "kernel")
        arch = cls(
            resolution,
            depth,
            tuple(_integers(s, "kernel", i) for i, s in enumerate(kernels)),
            tuple(_integers(s, "expand", i) for i, s in enumerate(expands)),
        )
        for name, stages in (("kernel", arch.kernel), ("expand", arch.expand)):
            if tuple(len(stage) for stage in stages) != arch.depth:
                raise _invalid(
                    (name,),
                    "expected one list a stage with one entry an active block, "
                    f"lengths {list(arch.depth)} as in depth, got {[len(s) for s in stages]}",
                )
        return arch


OWN_FIELDS = frozenset({"depth", "kernel", "expand", "width"})
"""Fields that no other known form has."""
_FIELDS: Mapping[OwnField, str] = {
    "kernel": "(resolution, depth, kernel, expand) as in MobileNet spaces",
    "width": "(resolution, depth, width, expand) as in ResNet spaces",
}

Note = Callable[[str], None]
"""Told what a reader ignores, in a sentence without numbers of a single network."""


@dataclass(frozen=True, slots=True)
class ArchForm:
    """How others write architectures."""

    reads: Callable[[object], bool]
    read: Callable[..., Arch]
    with_space: bool


_FORMS: Registry[ArchForm] = Registry("architecture form")


def register_arch_form(
    name: str,
    reads: Callable[[object], bool],
    read: Callable[[Any], Arch] | Callable[[Any, SearchSpace, Note], Arch],
    *,
    with_space: bool = False,
) -> None:
    """Have another form read wherever an architecture is taken, such as that of another project's
    files. The form that was registered last is asked first.

    Args:
        reads: whether a JSON value has this form; it raises nothing.
        read: the architecture of such a value. It raises `InvalidDocument`.
        with_space: `read` takes two more arguments: the space that the architecture is of, and a
            function that is told what was ignored, which users are shown.

    Raises:
        InputError: if another form has that name.
    """
    _FORMS.register(name, ArchForm(reads, read, with_space))


def form_of(value: object) -> ArchForm | None:
    """The registered form that a JSON value has; None for our own, and for what is none."""
    return next((form for form in reversed(_FORMS.values()) if form.reads(value)), None)


def unregister_arch_form(name: str) -> None:
    """Remove a form; there may be none of that name."""
    _FORMS.unregister(name)


def _invalid(path: FieldPath, text: str) -> InvalidDocument:
    return InvalidDocument.at("arch", path, text)


def _sequence(value: object, *path: str | int) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise _invalid(path, f"expected a list, got {show_value(value)}")
    return value


def _integer(value: object, *path: str | int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(path, f"expected an integer, got {show_value(value)}")
    return value


def _integers(value: object, *path: str | int) -> tuple[int, ...]:
    return tuple(_integer(item, *path, i) for i, item in enumerate(_sequence(value, *path)))


def _numbers(value: object, *path: str | int) -> tuple[float, ...]:
    items = _sequence(value, *path)
    for i, item in enumerate(items):
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise _invalid((*path, i), f"expected a number, got {show_value(item)}")
        if not abs(item) < MAX_NUMBER:  # false for NaN too
            raise _invalid((*path, i), f"expected a smaller number, got {show_value(item)}")
    return tuple(float(item) for item in items)  # type: ignore[arg-type]

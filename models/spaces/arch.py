"""An architecture is a value: frozen, hashable, canonical, passed as an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InputError
from models.registry import Registry


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
    def from_json(cls, value: object) -> Arch:
        """Read the JSON form, or a registered one; only its shape is checked here, the choices by
        the space.

        Raises:
            InputError: naming the field, what was expected and what was found.
        """
        for reads, read in _FORMS.values():
            if reads(value):
                return read(value)
        if not isinstance(value, Mapping):
            raise InputError(f"arch: expected an object, got {type(value).__name__}")
        own = "width" if "width" in value else "kernel"
        fields = ("resolution", "depth", own, "expand")
        if unknown := set(value) - set(fields):
            raise InputError(f"arch: unknown field {min(map(str, unknown))!r}; expected {fields}")
        if missing := [field for field in fields if field not in value]:
            raise InputError(f"arch: field {missing[0]!r} is missing; expected {fields}")
        resolution = _integer(value["resolution"], "arch.resolution")
        depth = tuple(_integer(v, "arch.depth") for v in _sequence(value["depth"], "arch.depth"))
        expands = _sequence(value["expand"], "arch.expand")
        if own == "width":
            width = _numbers(value["width"], "arch.width")
            return cls(
                resolution, depth, (), tuple(_numbers(s, "arch.expand") for s in expands), width
            )
        arch = cls(
            resolution,
            depth,
            tuple(_integers(s, "arch.kernel") for s in _sequence(value["kernel"], "arch.kernel")),
            tuple(_integers(s, "arch.expand") for s in expands),
        )
        for name, stages in (("kernel", arch.kernel), ("expand", arch.expand)):
            if tuple(len(stage) for stage in stages) != arch.depth:
                raise InputError(
                    f"arch.{name}: expected one list a stage with one entry an active block, "
                    f"lengths {list(arch.depth)} as in depth, got {[len(s) for s in stages]}"
                )
        return arch


_FORMS: Registry[tuple[Callable[[object], bool], Callable[[Any], Arch]]] = Registry(
    "architecture form"
)


def register_arch_form(
    name: str, reads: Callable[[object], bool], read: Callable[[Any], Arch]
) -> None:
    """Let `Arch.from_json` read another form, such as that of another project's files.

    Args:
        reads: whether a JSON value has this form; it raises nothing.
        read: the architecture of such a value.

    Raises:
        InputError: if another form has that name.
    """
    _FORMS.register(name, (reads, read))


def unregister_arch_form(name: str) -> None:
    """Remove a form; there may be none of that name."""
    _FORMS.unregister(name)


def _sequence(value: object, where: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"{where}: expected a list, got {value!r}")
    return value


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where}: expected an integer, got {value!r}")
    return value


def _integers(value: object, where: str) -> tuple[int, ...]:
    return tuple(_integer(item, where) for item in _sequence(value, where))


def _numbers(value: object, where: str) -> tuple[float, ...]:
    items = _sequence(value, where)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise InputError(f"{where}: expected a number, got {item!r}")
    return tuple(float(item) for item in items)  # type: ignore[arg-type]

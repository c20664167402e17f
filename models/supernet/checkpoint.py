"""Checkpoints in the published formats: an explicit two-way map of tensor names.

The published files exist in two namings. "released" is that of the first release (v0.1) and of
the hosted MobileNetV3 and ProxylessNAS weights; "newer" is that of the later code and of the
hosted ResNet-50 weights. They differ in one component (`.mobile_inverted_conv.`, `.conv.`).
Source: mit-han-lab/once-for-all, f03b267 and tag v0.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

import torch
from torch import Tensor

from models.errors import InputError, show_value
from models.layers import COUNTER, kind_of
from models.spaces import SearchSpace, layer_plan
from models.supernet.checkpoint_file import Warn, few, show_shape
from models.supernet.supernet import Supernet

KeyFormat = Literal["released", "newer"]
FORMATS: tuple[KeyFormat, ...] = ("released", "newer")
MAX_COMPONENTS = 8
"""Parts of a name that are looked through for what stands before ours."""
SHOWN = 5
"""Problems that an error names."""
MAX_COMPARED = 2000
"""Names among which the nearest to a missing one is looked for."""
NOT_WEIGHTS = ("total_ops", "total_params")
"""Ends of the names of what a common profiler leaves in each module."""
_BLOCK = {"released": "mobile_inverted_conv", "newer": "conv"}


def key_map(space: SearchSpace, format: KeyFormat) -> dict[str, str]:
    """Published name of each tensor of `space`'s supernet, by our name, in published order.

    Our names are those of `Supernet.state_dict()`, and the norms' counters.
    """
    modules = space.published_modules(block_name_of(format))
    return {
        f"layers.{spec.name}.{ours}": theirs
        for spec in layer_plan(space, space.largest)
        if spec.name in modules
        for ours, theirs in kind_of(spec).published_names(spec, modules[spec.name])
    }


def block_name_of(format: KeyFormat) -> str:
    """What the inner module of an inverted bottleneck is called."""
    return _BLOCK[format]


def detect_format(tensors: Mapping[str, Tensor]) -> KeyFormat:
    """Which naming a checkpoint has; ResNets were published in the newer one only."""
    released = any(f".{_BLOCK['released']}." in name for name in tensors)
    return "released" if released else "newer"


def from_published(
    space: SearchSpace, tensors: Mapping[str, Tensor], warn: Warn = lambda text: None
) -> dict[str, Tensor]:
    """A published checkpoint under our names; every tensor must be there in its shape.

    Args:
        warn: told what was changed, and what was ignored.

    Raises:
        InputError: naming the missing, unknown, misshapen or unusable tensors.
    """
    with torch.device("meta"):  # shapes only: nothing is allocated or initialized
        supernet = Supernet(space)
    shapes = {name: tuple(tensor.shape) for name, tensor in supernet.state_dict().items()}
    return matched_tensors(space, key_map(space, detect_format(tensors)), shapes, tensors, warn)


def matched_tensors(
    space: SearchSpace,
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Tensor],
    warn: Warn = lambda text: None,
) -> dict[str, Tensor]:
    """Copies of a checkpoint's tensors under our names, in float32; counters as integers.

    What stands before all of a network's names, such as `module.`, is taken off. Counters of batch
    norms may be missing, since nothing computes with them.

    Args:
        space: named in messages.
        names: the checkpoint's name of every tensor that it must have, by ours.
        shapes: of each, by our name; counters are scalars.
        warn: told what was changed, and what was ignored.

    Raises:
        InputError: naming the missing, unknown, misshapen or unusable tensors.
    """
    own = _own_tensors(set(names.values()), tensors, warn)
    matching = _Matching(space, shapes, len(names))
    found: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        tensor = own.get(theirs)
        if tensor is not None:
            found[ours] = matching.converted(ours, theirs, tensor)
        elif not ours.endswith(COUNTER):
            matching.missing[theirs] = shapes[ours]
    known = set(names.values())
    matching.unknown = {name: t for name, t in own.items() if name not in known}
    if error := matching.error():
        raise error
    for dtype, count in matching.conversions.items():
        warn(f"{count} tensors are {dtype}, and were converted to float32")
    return found


def _own_tensors(known: set[str], tensors: Mapping[str, Tensor], warn: Warn) -> dict[str, Tensor]:
    """The tensors of the network whose names are `known`, without what stands before each name.

    A file can hold several networks, such as averaged weights or a teacher: that one is taken of
    which most is there; of equals the averaged weights, then the one with the shortest names.
    """
    counts: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".", MAX_COMPONENTS)
        for start in range(len(parts)):
            if ".".join(parts[start:]) in known:
                counts["".join(f"{part}." for part in parts[:start])] += 1
    ranked = sorted(counts, key=lambda p: (-counts[p], "ema" not in p.lower(), len(p)))
    prefix, others = (ranked[0], tuple(filter(None, ranked[1:]))) if ranked else ("", ())
    own, ignored = {}, []
    for name, tensor in tensors.items():
        if not name.startswith(prefix) or (others and name.startswith(others)):
            ignored.append(name)
        elif name.endswith(NOT_WEIGHTS):
            ignored.append(name)
        else:
            own[name.removeprefix(prefix)] = tensor
    if prefix:
        warn(f"the names of {len(own)} tensors begin with {prefix!r}, which was taken off")
    if ignored:
        warn(f"ignored {len(ignored)} tensors that are not of this network: {few(ignored)}")
    return own


@dataclass(slots=True)
class _Matching:
    """How the tensors of a file agree with those of a space."""

    space: SearchSpace
    shapes: Mapping[str, tuple[int, ...]]
    expected: int
    missing: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unusable: list[str] = field(default_factory=list)
    unknown: Mapping[str, Tensor] = field(default_factory=dict)
    conversions: Counter[torch.dtype] = field(default_factory=Counter)
    classes: int | None = None
    """Of the file, if the space has another number of them."""

    def converted(self, ours: str, theirs: str, tensor: Tensor) -> Tensor:
        """A copy, since tensors of a file may share memory, which a stored bundle must not."""
        counter = ours.endswith(COUNTER)
        shape, dtype = self.shapes.get(ours, ()), torch.int64 if counter else torch.float32
        fits = tensor.numel() == 1 if counter else tuple(tensor.shape) == shape
        kind = tensor.dtype == dtype or tensor.is_floating_point()
        if not (fits and kind):
            self.unusable.append(
                f"{theirs}: expected {show_shape(shape)} {dtype}, "
                f"got {show_shape(tuple(tensor.shape))} {tensor.dtype}"
            )
            if ours.endswith("classifier.weight") and tuple(tensor.shape[1:]) == shape[1:]:
                self.classes = tensor.shape[0] if tensor.ndim else None
            return tensor
        if not bool(torch.isfinite(tensor.to(torch.float32)).all()):
            self.unusable.append(f"{theirs}: expected finite values, got NaN or infinity")
        copy = tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
        if tensor.dtype != dtype and not counter:
            self.conversions[tensor.dtype] += 1
        return copy.reshape(shape)

    def error(self) -> InputError | None:
        """What does not fit; None if all does."""
        problems = [*self._missing(), *self.unusable, *self._unknown()]
        if not problems:
            return None
        more = ""
        if len(problems) > SHOWN:
            more = (
                f"; and {len(problems) - SHOWN} more: of {self.expected} tensors "
                f"{len(self.missing)} are missing and {len(self.unusable)} unusable, and "
                f"{len(self.unknown)} others are there"
            )
        if self.classes is not None:
            more += (
                f". The file is for {self.classes} classes and the space for "
                f"{self.space.classes}: import it under a new name with `--space FILE`, a space "
                f"with classes = {self.classes} (docs/spaces.md)"
            )
        what = f"checkpoint does not fit space {self.space.name!r}"
        return InputError(f"{what}: {'; '.join(problems[:SHOWN])}{more}")

    def _missing(self) -> Iterator[str]:
        for number, (name, shape) in enumerate(self.missing.items()):
            near = []
            if number < SHOWN:
                near = get_close_matches(name, list(self.unknown)[:MAX_COMPARED], n=1)
            nearest = f"; the nearest that is there is {show_value(near[0])}" if near else ""
            yield f"{name} is missing, expected {show_shape(shape)} torch.float32{nearest}"

    def _unknown(self) -> Iterator[str]:
        for name, tensor in self.unknown.items():
            shape = show_shape(tuple(tensor.shape))
            yield f"{show_value(name)} is unknown, got {shape}, expected no such tensor"


def to_published(
    space: SearchSpace, tensors: Mapping[str, Tensor], format: KeyFormat
) -> dict[str, Tensor]:
    """The inverse of `from_published`: published names in published order.

    Weights that were trained here have no counters; theirs are 0.
    """
    zero = torch.zeros((), dtype=torch.int64)
    return {
        theirs: tensors.get(ours, zero) if ours.endswith(COUNTER) else tensors[ours]
        for ours, theirs in key_map(space, format).items()
    }

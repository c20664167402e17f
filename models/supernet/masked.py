"""A subnet computed by the whole supernet with masks, so that no shape depends on the subnet.

On a GPU, each new shape costs a plan of every convolution, and each launch costs time of its own.
With shapes that depend on the resolution alone, plans are made once, and all launches of a step can
be recorded and replayed. It computes more than the subnet needs, so a CPU does not gain.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from models.errors import InputError
from models.spaces import Arch, layer_plan
from models.supernet.supernet import Supernet


class MaskedSupernet:
    """`supernet(x_BCHW, arch)` with the architecture as numbers on the device.

    Raises:
        InputError: the space has a layer that cannot be masked, naming it.
    """

    def __init__(self, supernet: Supernet) -> None:
        self.supernet, space = supernet, supernet.space
        self._slices: dict[str, slice] = {}
        at = 0
        for spec in layer_plan(space, space.largest):
            counts = supernet.layer(spec.name).counts(spec)
            if counts is None:
                raise InputError(_cannot(spec.name))
            self._slices[spec.name] = slice(at, at + len(counts))
            at += len(counts)
        self.length = at
        """Numbers of an architecture."""
        self.counts(space.smallest)

    def counts(self, arch: Arch) -> npt.NDArray[np.int64]:
        """(length,): what `forward` needs to know of an architecture.

        Raises:
            InputError: it has a layer that cannot be masked.
        """
        specs = {spec.name: spec for spec in layer_plan(self.supernet.space, arch)}
        found = np.zeros(self.length, np.int64)
        for name, part in self._slices.items():
            counts = self.supernet.layer(name).counts(specs.get(name))
            if counts is None:
                raise InputError(_cannot(name))
            found[part] = counts
        return found

    def forward(self, x_BCHW: Tensor, counts: Tensor) -> Tensor:
        """Logits (B, classes) of the subnet with these counts, a tensor on the images' device."""
        space = self.supernet.space
        y = x_BCHW
        for spec in layer_plan(space, space.at([x_BCHW.shape[-1]]).largest):
            y = self.supernet.apply_masked(y, spec, counts[self._slices[spec.name]])
        return y

    def unused(self, archs: Iterable[Arch]) -> set[str]:
        """Names of the parameters that none of the subnets uses: they get no gradient."""
        supernet = self.supernet
        names = {name for name, _ in supernet.named_parameters()}
        for arch in archs:
            for spec in layer_plan(supernet.space, arch):
                layer, prefix = supernet.layer(spec.name), f"layers.{spec.name}."
                without = layer.unused(spec)
                used = (name for name, _ in layer.named_parameters() if name not in without)
                names.difference_update(prefix + name for name in used)
        return names


def _cannot(name: str) -> str:
    return f"layer {name!r}: expected one that can be masked, got one whose operators vary"

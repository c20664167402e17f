"""Names of tensors in the published checkpoints (mit-han-lab/once-for-all, f03b267)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.layers.tensors import NORM_PARTS

COUNTER = "num_batches_tracked"
"""Imported with the weights so that a checkpoint can be written back; nothing computes with it."""
NORM_TENSORS = (*NORM_PARTS, COUNTER)


@dataclass(frozen=True, slots=True)
class PublishedModule:
    """Where a published checkpoint keeps the tensors of one layer."""

    path: str
    """Name of the module."""
    elastic: bool = True
    """Whether it is an elastic module; those wrap convolutions and norms in one more module."""
    kernels: tuple[int, ...] = ()
    """Kernel sizes between which it has transformations, ascending."""

    @property
    def conv(self) -> str:
        """Name of a convolution under its module."""
        return "conv.conv" if self.elastic else "conv"

    @property
    def norm(self) -> str:
        """Name of a batch norm under its module."""
        return "bn.bn" if self.elastic else "bn"

    def conv_norm(self, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
        """(our name, published name) of a convolution and the batch norm after it."""
        yield f"{ours}.weight", f"{self.path}.{theirs}.{self.conv}.weight"
        for part in NORM_TENSORS:
            yield f"{ours}_norm.{part}", f"{self.path}.{theirs}.{self.norm}.{part}"

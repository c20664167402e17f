"""One layer of a network as data: everything that its cost and its module depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.layers.kind import KINDS

Activation = Literal["relu", "relu6", "hswish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """One layer of a plan. Its kind says what is computed; see the file of that kind."""

    name: str
    kind: str
    """Name of a registered `LayerKind`."""
    in_channels: int
    out_channels: int
    in_size: int
    """Input height and width, pixels."""
    mid_channels: int = 0
    """Channels inside a block."""
    kernel: int = 1
    stride: int = 1
    act: Activation | None = None
    se_channels: int = 0
    """Squeezed channels, 0 without squeeze-and-excitation."""
    skip: bool = False
    """Whether the input is added to the output."""
    norm: bool = False
    resolution: int = 0
    """Input size of the whole network, pixels. The layer does not depend on it, but a latency
    table may hold one figure for each resolution."""

    @property
    def out_size(self) -> int:
        """Output height and width, pixels."""
        return KINDS[self.kind].out_size(self)

    @property
    def expands(self) -> bool:
        """Whether the middle of a block has other channels than its input. An inverted
        bottleneck has no 1x1 expansion where it does not."""
        return self.mid_channels != self.in_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one image."""
        return KINDS[self.kind].macs(self)

    @property
    def params(self) -> int:
        """Trainable values of the layer once extracted (no kernel transformations)."""
        return KINDS[self.kind].params(self)

    @property
    def live_values(self) -> int:
        """Most activation values alive at once while the layer runs, for one image.

        Every convolution writes to memory of its own. Operators on single values (norm,
        activation, the scale of squeeze-and-excitation, a sum) work in place. An input with a
        shortcut past it lives until the sum.
        """
        return KINDS[self.kind].live_values(self)

    def live_bytes(self, precision: str) -> int:
        """Most bytes of activations alive at once while the layer runs, for one image.

        Args:
            precision: fp32, fp16, bf16 or int8. At int8 a value takes one byte, except where an
                operator has no int8 form.
        """
        return KINDS[self.kind].live_bytes(self, precision)

    @property
    def key(self) -> str:
        """What a latency depends on, as text: two layers with one key cost the same."""
        size_in, size_out = self.in_size, self.out_size
        return (
            f"{self.kind}-in{size_in}x{size_in}x{self.in_channels}"
            f"-out{size_out}x{size_out}x{self.out_channels}"
            f"-mid{self.mid_channels}-k{self.kernel}-s{self.stride}-se{self.se_channels}"
            f"-skip{int(self.skip)}-{self.act or 'none'}"
        )

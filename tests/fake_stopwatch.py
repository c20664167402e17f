"""A device whose every time is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from latency_tables.table import Conditions
from models.plan import LayerSpec

CONDITIONS = Conditions(runtime="fake", precision="fp32", batch=1, processor="none")


def macs_ms(layer: LayerSpec) -> float:
    """A made-up cost: a tenth of a millisecond, and one for every million operations."""
    return 0.1 + layer.macs / 1e6


@dataclass
class FakeStopwatch:
    """T(chain) = start + sum of layers + conversion of the last output, times the drift."""

    layer_ms: Callable[[LayerSpec], float] = macs_ms
    start_ms: float = 0.05
    conversion_ms: float = 1e-6
    """For each value of a chain's output."""
    drift: Callable[[int], float] = lambda visit: 1.0
    """Slowness of the machine at each visit."""
    visits: int = field(default=0, init=False)

    @property
    def conditions(self) -> Conditions:
        return CONDITIONS

    def chain_ms(self, chain) -> float:
        last = chain[-1]
        conversion = self.conversion_ms * last.out_channels * last.out_size**2
        return self.start_ms + sum(self.layer_ms(layer) for layer in chain) + conversion

    def prepare(self, chain, /):
        def timed_runs(warmup: int, runs: int):
            self.visits += 1
            return np.full(runs, self.chain_ms(chain) * self.drift(self.visits))

        return timed_runs

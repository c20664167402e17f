"""A device whose every time is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from latency_tables.table.conditions import Conditions
from models.layers import LayerSpec

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
    cold_ms: Callable[[LayerSpec], float] = lambda layer: 0.0
    """What a layer takes more where another model ran before."""
    cold_share: float = 1.0
    """How much of that a layer takes more inside a whole network."""
    precision: str = "fp32"
    runtime: str = "fake"
    visits: int = field(default=0, init=False)

    @property
    def conditions(self) -> Conditions:
        return replace(CONDITIONS, precision=cast(Any, self.precision), runtime=self.runtime)

    def chain_ms(self, chain, cold: float = 0.0) -> float:
        last = chain[-1]
        conversion = self.conversion_ms * last.out_channels * last.out_size**2
        layers = sum(self.layer_ms(layer) + cold * self.cold_ms(layer) for layer in chain)
        return self.start_ms + layers + conversion

    def network_ms(self, network) -> float:
        """A whole network, which runs after itself."""
        return self.chain_ms(network, self.cold_share)

    def make_models(self, chains, on_progress, /):
        pass

    def prepare(self, chain, /, after=None):
        def timed_runs(warmup: int, runs: int):
            self.visits += 1
            cold = 1.0 if after else self.cold_share if len(chain) > 2 else 0.0
            return np.full(runs, self.chain_ms(chain, cold) * self.drift(self.visits))

        return timed_runs

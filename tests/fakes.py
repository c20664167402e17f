"""Ten-line stand-ins for a predictor, a latency table and a clock."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from models.layers import LayerSpec
from models.spaces.genes import GeneMatrix
from models.spaces.space import SearchSpace
from search.costs.costs import Floats
from search.predictors.protocol import Provenance


class LinearAccuracy:
    """Top-1 as a sum over genes, random but rising with each choice; one gene, one weight."""

    def __init__(self, space: SearchSpace, seed: int = 0, interaction: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        steps = rng.exponential(0.3, (len(space.genes), int(space.n_choices.max()) + 1))
        self.space, self.table = space, steps.cumsum(axis=1)
        self.pairs = interaction * rng.standard_normal((len(space.genes),) * 2)
        self.calls = 0
        self.provenance = Provenance(
            kind="linear", space=space.name, resolutions=space.resolutions, target="made up",
            count=0, rmse=0.0, spearman=1.0, kendall=1.0, method="exact",
        )  # fmt: skip

    def predict(self, genes: GeneMatrix) -> Floats:
        """50 percent and the weight of each active gene's choice, and of pairs of genes."""
        self.calls += len(genes)
        step = np.where(self.space.active(genes), genes.astype(int) + 1, 0)
        values = np.where(step > 0, self.table[np.arange(genes.shape[1]), step - 1], 0.0)
        bent = np.sin(values @ self.pairs.T) * values
        total: Floats = 50 + values.sum(axis=1) + bent.sum(axis=1) * (self.pairs.any())
        return total


@dataclass
class FakeTable:
    """Milliseconds from the layer's size, with a wrinkle by key so that no two layers tie."""

    network_overhead_ms: float = 0.25
    layers_asked: set[str] = field(default_factory=set)

    def layer_ms(self, layer: LayerSpec, keys: object = None) -> float:
        """Larger layers take longer; the same key always takes the same time."""
        self.layers_asked.add(layer.key)
        wrinkle = zlib.crc32(layer.key.encode()) / 2**32
        return 0.01 + layer.macs / 1e6 + 0.05 * wrinkle


@dataclass
class FakeClock:
    """Moves on by `step_s` seconds each time it is read."""

    step_s: float = 1.0
    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s

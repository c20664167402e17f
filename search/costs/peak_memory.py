"""Peak memory: a cost that is the largest of its layers instead of their sum.

A budget is met if the sum of the layers' excesses over it is 0. So for a known budget, everything
that works on sums of small tables works here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.layers import LayerSpec
from models.spaces import GeneMatrix, SearchSpace
from search.costs.costs import CostModel, Factor, Floats

IMAGE_BYTES = 5
"""Of one value of the image that an int8 network takes: in float32, and rounded to uint8."""


@dataclass(frozen=True, eq=False)
class PeakModel:
    """The largest term of `layers`, none of which is negative."""

    layers: CostModel

    @classmethod
    def compile(cls, space: SearchSpace, layer_cost: Callable[[LayerSpec], float]) -> PeakModel:
        """Tabulate `layer_cost` over every layer that a network of `space` can have."""
        return cls(CostModel.compile(space, layer_cost))

    @property
    def space(self) -> SearchSpace:
        """The networks that it is defined for."""
        return self.layers.space

    def evaluate(self, genes: GeneMatrix) -> Floats:
        """Largest layer of each row of a canonical gene matrix, (N,)."""
        largest: Floats = self.layers.terms(genes).max(axis=1)
        return largest

    def within(self, budget: float) -> tuple[CostModel, float]:
        """See `Cost.within`: 1 plus the excess of each layer over `budget`, and 1."""
        factors = tuple(
            # At least 1 for any excess, so that a tiny one is not lost to rounding.
            Factor(f.name, f.columns, np.where(f.table > budget, f.table / budget, 0.0))
            for f in self.layers.factors
        )
        return CostModel(self.space, factors, 1.0), 1.0

    def at_least(self, value: float) -> tuple[CostModel, float]:
        """See `Cost.at_least`: minus the number of layers of `value` or more, and -1."""
        factors = tuple(
            Factor(f.name, f.columns, np.where(f.table >= value, -1.0, 0.0))
            for f in self.layers.factors
        )
        return CostModel(self.space, factors), -1.0

    def at(self, space: SearchSpace) -> PeakModel:
        """The same cost over `space`, which is this one with fewer choices of some genes."""
        return PeakModel(self.layers.at(space))

    @cached_property
    def floor_genes(self) -> GeneMatrix:
        """A network whose largest layer is smallest, exact, (G,): bisection over layers' costs."""
        if self.layers.floor() == 0:
            return self.layers.floor_genes  # no budget is 0
        budgets = np.unique(np.concatenate([f.table.ravel() for f in self.layers.factors]))
        budgets = budgets[budgets > 0]
        low, high = 0, len(budgets) - 1
        while low < high:
            middle = (low + high) // 2
            sums, most = self.within(float(budgets[middle]))
            if sums.floor() <= most:
                high = middle
            else:
                low = middle + 1
        sums, _ = self.within(float(budgets[low]))
        return sums.floor_genes

    def ceiling(self) -> float:
        """The largest cost in the space; a budget above it does not bind."""
        return max(float(factor.table.max()) for factor in self.layers.factors)

    def floor(self) -> float:
        """The least cost in the space; a budget below it cannot be met."""
        return float(self.evaluate(self.floor_genes[None])[0])


def peak_memory_costs(space: SearchSpace, precision: str = "fp32") -> PeakModel:
    """Bytes of the largest set of activations that are alive together, for one image.

    A lower bound of what a runtime uses: weights, workspaces and its own bookkeeping come on top.

    Args:
        precision: of the activations: fp32, fp16, bf16 or int8.
    """
    model = PeakModel.compile(space, lambda layer: layer.live_bytes(precision))
    if precision != "int8":
        return model
    sizes = np.array(space.resolutions, float)
    image = Factor("image", (0,), IMAGE_BYTES * space.channels * sizes**2)
    return PeakModel(replace(model.layers, factors=(*model.layers.factors, image)))

"""A layer's cost from what it computes and moves: one non-negative time for each unit of work.

The same few features describe the layers of every space, so times that were fitted in one space
and at some resolutions say something about the others.

Shapes: L layers, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from models.layers import WORK_UNITS, LayerSpec, kind_of

Floats = npt.NDArray[np.float64]

FEATURES = WORK_UNITS
"""What the columns count, for one image; the batch is part of the times."""

UnitCosts = Mapping[str, float]
"""Milliseconds by feature, for one unit of each."""


def layer_features(layers: Iterable[LayerSpec]) -> Floats:
    """What each layer computes and moves, (L, F)."""
    found = [kind_of(layer).work(layer) for layer in layers]
    rows = [[work.get(name, 0.0) for name in FEATURES] for work in found]
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def as_vector(costs: UnitCosts) -> Floats:
    """Milliseconds of one unit of each feature, in order, (F,)."""
    return np.array([costs.get(name, 0.0) for name in FEATURES])


def as_costs(vector_F: Floats) -> dict[str, float]:
    """The inverse of `as_vector`, without what costs nothing, to seven digits."""
    return {
        name: float(f"{cost:.7g}")
        for name, cost in zip(FEATURES, vector_F.tolist(), strict=True)
        if cost > 0
    }

"""The time of a layer as a sum of non-negative unit costs, one for each kind of work.

The same features describe the layers of every space, so costs that were fitted in one space, at
some resolutions, predict times in others.

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
    """The work of each layer: what it computes and moves, (L, F)."""
    works = [kind_of(layer).work(layer) for layer in layers]
    rows = [[work.get(name, 0.0) for name in FEATURES] for work in works]
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def as_vector(costs: UnitCosts) -> Floats:
    """Unit costs in the order of `FEATURES`, 0 if missing, (F,)."""
    return np.array([costs.get(name, 0.0) for name in FEATURES])


def as_costs(vector_F: Floats) -> dict[str, float]:
    """The inverse of `as_vector`: seven digits, zeros left out."""
    return {
        name: float(f"{cost:.7g}")
        for name, cost in zip(FEATURES, vector_F.tolist(), strict=True)
        if cost > 0
    }

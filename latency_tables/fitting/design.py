"""Which networks to time, so that a table fitted to few of them predicts all others best.

Networks drawn at random resemble one another: depth, width and image size are near their means,
and the costs that differ least between them are known least. The design instead adds, one after
another, the network that most reduces the mean variance of the predictions of all candidates
(V-optimal design; Fedorov 1972), as the cost model of `fit` has it.

Shapes: C candidates, N networks, F features.
"""

from __future__ import annotations

import numpy as np

from latency_tables.fitting.layer_costs import Floats, layer_features
from models.spaces import Arch, SearchSpace, layer_plan

CANDIDATES = 600
PRIOR_SPREAD = 0.5
"""Prior standard deviation of each cost's part, as a share of a network's time."""
NOISE = 0.03
"""Relative error of a measured network (standard deviation)."""
OVERHEAD = 0.05
"""Time of a network without any work, as a share of the mean."""


def design_networks(space: SearchSpace, count: int, seed: int = 0) -> list[Arch]:
    """Up to `count` different networks of a space, in the order in which they were chosen; equal
    for equal arguments."""
    archs = _candidates(space, seed)
    rows_CF = _shares(space, archs)
    chosen = _choose(rows_CF, min(count, len(archs)))
    return [archs[index] for index in chosen]


def _candidates(space: SearchSpace, seed: int) -> list[Arch]:
    """Random networks, and the smallest and largest at each resolution."""
    parts = [space.at([size]) for size in space.resolutions]
    ends = [arch for part in parts for arch in (part.smallest, part.largest)]
    drawn = space.decode(space.sample(CANDIDATES, np.random.default_rng(seed)))
    return list(dict.fromkeys([*ends, *drawn]))


def _shares(space: SearchSpace, archs: list[Arch]) -> Floats:
    """Each network's features as shares of its time, if all kinds of work took equally long in the
    mean network, (C, F); the last is the overhead."""
    plans = [layer_plan(space, arch) for arch in archs]
    layers = list(dict.fromkeys(layer for plan in plans for layer in plan))
    features = dict(zip(layers, layer_features(layers), strict=True))
    work_CF = np.array([np.sum([features[layer] for layer in plan], axis=0) for plan in plans])
    work_CF = np.column_stack([work_CF, np.full(len(archs), work_CF[:, :1].mean() or 1.0)])
    mean_F = work_CF.mean(axis=0)
    parts_CF = work_CF[:, mean_F > 0] / mean_F[mean_F > 0]
    weight_F = np.append(np.ones(parts_CF.shape[1] - 1), OVERHEAD * (parts_CF.shape[1] - 1))
    time_C = parts_CF @ weight_F
    shares: Floats = parts_CF * len(weight_F) / time_C[:, None]
    return shares


def _choose(rows_CF: Floats, count: int) -> list[int]:
    """Rows of a design, each adding most to what is known."""
    width = rows_CF.shape[1]
    covariance = np.eye(width) * PRIOR_SPREAD**2 / NOISE**2
    moments = rows_CF.T @ rows_CF / len(rows_CF)
    left, chosen = np.ones(len(rows_CF), bool), list[int]()
    for _ in range(count):
        known_CF = rows_CF @ covariance
        gain_C = np.einsum("cf,fg,cg->c", known_CF, moments, known_CF)
        gain_C /= 1 + np.einsum("cf,cf->c", known_CF, rows_CF)
        best = int(np.where(left, gain_C, -1.0).argmax())
        chosen.append(best)
        left[best] = False
        known_F = covariance @ rows_CF[best]
        covariance -= np.outer(known_F, known_F) / (1 + rows_CF[best] @ known_F)
    return chosen

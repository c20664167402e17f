"""How fast a device was at each visit, and times as if it had been as fast as usual throughout.

A shared machine, or one whose clock steps, changes its speed by half from one second to the next,
for seconds. All models that are visited meanwhile take longer together. Each visit, divided by what
its model takes otherwise, tells the speed at its moment; the median of consecutive visits, which
are of different models, tells it without their noise. Divided by it, the visits of a model agree.

Shapes: M models, R rounds, each of which visits every model once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from latency_tables.benchmark.runner import Floats, visit_order

LEAST_WINDOW, ROUND_SHARE = 5, 20
"""Consecutive visits whose median is the speed: so many, or this part of a round."""
PASSES, SETTLED = 100, 1e-4
"""How often the speeds and the models' times are estimated from one another at most; and the
change, as a share, below which they have settled, which takes ten to thirty passes."""


def window_of(models: int) -> int:
    """How many consecutive visits tell the speed at the one in their middle; odd."""
    return max(LEAST_WINDOW, models // ROUND_SHARE) | 1


def at_usual_speed(
    times: Mapping[str, Floats], orders: Sequence[Sequence[int]] | None = None, *, seed: int = 0
) -> dict[str, Floats]:
    """The times of visits as if the device had been as fast as usual throughout.

    Args:
        times: (R, 2) milliseconds by name: median and mean of each visit.
        orders: of each round, the models in the order of their visits; None: those of
            `runner.time_rounds` with this seed.
    """
    p50_MR = np.array([visits[:, 0] for visits in times.values()])
    models, rounds = p50_MR.shape
    if orders is None:
        orders = [visit_order(seed, number, models) for number in range(rounds)]
    slow_MR = slowness(p50_MR, orders)
    return {
        name: visits / slow_R[:, None]
        for (name, visits), slow_R in zip(times.items(), slow_MR, strict=True)
    }


def slowness(times_MR: Floats, orders: Sequence[Sequence[int]]) -> Floats:
    """How many times as long as usual the device took at each visit, (M, R); its median is 1.

    Args:
        times_MR: milliseconds of each visit.
        orders: of each round, the models in the order of their visits.
    """
    from scipy.ndimage import median_filter  # slow to import

    logs_MR = np.log(times_MR)
    models, rounds = logs_MR.shape
    model_V = np.concatenate([np.asarray(order) for order in orders])
    round_V = np.repeat(np.arange(rounds), models)
    slow_MR = np.zeros_like(logs_MR)
    for _ in range(PASSES):
        usual_M = np.median(logs_MR - slow_MR, axis=1)
        excess_V = (logs_MR - usual_M[:, None])[model_V, round_V]
        slow_V = median_filter(excess_V, size=window_of(models), mode="reflect")
        before_V = slow_MR[model_V, round_V]
        slow_MR[model_V, round_V] = slow_V - np.median(slow_V)
        if np.abs(slow_MR[model_V, round_V] - before_V).max() < SETTLED:
            break
    slow: Floats = np.exp(slow_MR)
    return slow

"""Whether values change steadily in the order in which they were measured.

Shapes: N values.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

LEAST_VALUES = 8
CHANCE_DEVIATIONS = 2.6
"""Standard deviations of a rank correlation by chance: exceeded once in a hundred times."""


def steady_change(values_N: npt.NDArray[np.float64]) -> float | None:
    """The last third over the first, by medians, if values rise or fall with their place in the
    order beyond chance (Spearman's rank correlation); None if they do not, or are fewer than
    `LEAST_VALUES`.

    Args:
        values_N: positive, in the order of measurement.
    """
    count = len(values_N)
    if count < LEAST_VALUES:
        return None
    ranks_N = np.argsort(np.argsort(values_N, kind="stable"), kind="stable")
    deviation_N = np.arange(count) - (count - 1) / 2
    correlation = 12 * float(deviation_N @ (ranks_N - (count - 1) / 2)) / (count**3 - count)
    if abs(correlation) * math.sqrt(count - 1) < CHANCE_DEVIATIONS:
        return None
    third = max(count // 3, 1)
    return float(np.median(values_N[-third:]) / np.median(values_N[:third]))


def change_in_words(change: float, when: str) -> str:
    """What a device that became slower or faster while it was measured is to be told."""
    way = "slowed down (heat, power saving, other work)" if change > 1 else "became faster"
    return (
        f"{when}, networks take {change:.2f} times as long at the end as at the start: the device "
        f"{way} while it was measured, and the table is of a speed in between; let it warm up or "
        "cool down, fix its clock if it can be fixed, and measure again in random order"
    )

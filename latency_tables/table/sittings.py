"""Sittings: how fast a device was at other times than when its table was measured.

A sitting times whole networks at one time. The table's own sitting defines the speed 1; each later
one states its speed relative to the table, and the errors of networks drawn as searches draw them.
Within a sitting, all networks are slower or faster together. This drift is therefore a variance
component of its own, which no number of networks in one sitting can show.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from latency_tables.table.checks import check_number
from models.errors import InputError

LEAST_SITTINGS = 3
"""Sittings, the table's own included, from which the drift is estimated."""
MAX_SITTINGS = 50
"""Later sittings that a table keeps, the newest."""
MAX_RATIO = 1e6
MAX_NETWORKS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """Whole networks timed at one time, compared with the table's predictions."""

    measured_at: str | None
    """ISO 8601; None: not known."""
    networks: int
    """Networks drawn at random behind `ratio`."""
    ratio: float
    """Median of their measured over their predicted latency."""
    searched_ratios: tuple[float, ...] = ()
    """Measured over predicted latency of networks drawn from the device's front."""

    def __post_init__(self) -> None:
        try:
            datetime.fromisoformat(self.measured_at or "2025-01-31")
        except ValueError as error:
            raise InputError(
                f"measured_at: expected ISO 8601 such as 2025-01-31T12:00:00Z, got "
                f"{self.measured_at!r:.60}"
            ) from error
        check_number(self.networks, "networks", MAX_NETWORKS, positive=True)
        if len(self.searched_ratios) > MAX_NETWORKS:
            raise InputError(
                f"searched_ratios: expected at most {MAX_NETWORKS}, got {len(self.searched_ratios)}"
            )
        for name, ratios in (("ratio", (self.ratio,)), ("searched_ratios", self.searched_ratios)):
            for value in ratios:
                check_number(value, name, MAX_RATIO, positive=True)

    @property
    def errors(self) -> list[float]:
        """`searched_ratios` without the drift of the sitting."""
        return [ratio / self.ratio for ratio in self.searched_ratios]

    def relative_to(self, ratio: float) -> Sitting:
        """The same sitting for a table that was corrected at a speed of `ratio`. Errors of single
        networks are not known of that table."""
        return replace(self, ratio=round(self.ratio / ratio, 5), searched_ratios=())


@dataclass(frozen=True, slots=True)
class Drift:
    """The speed of a device in sittings relative to its table, as logarithms."""

    mean: float
    deviation: float
    """Standard deviation between sittings. It contains the sampling error of each sitting's
    median, so it is rather too large than too small."""
    sittings: int

    @property
    def scale(self) -> float:
        """Of Student's t with `sittings` - 1 degrees of freedom, which a further sitting's speed
        has around `mean`: the spread of sittings, and the error of a mean of so few."""
        return self.deviation * math.sqrt(1 + 1 / self.sittings)


def estimate_drift(sittings: Sequence[Sitting]) -> Drift | None:
    """The drift of a device from the later sittings of its table; None if there are too few."""
    logs = [0.0, *(math.log(sitting.ratio) for sitting in sittings)]
    if len(logs) < LEAST_SITTINGS:
        return None
    return Drift(statistics.fmean(logs), statistics.stdev(logs), len(logs))

"""How many times faster at equal accuracy, from the fronts of two groups of networks.

Shapes: N networks, R rounds, G accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.benchmark.measure import timed_model

Floats = npt.NDArray[np.float64]
WARMUP, RUNS = 2, 10
GRID_POINTS = 25
RESAMPLES = 1000


def time_interleaved(models: Sequence[Path], threads: int, rounds: int, seed: int = 0) -> Floats:
    """(N, R) median milliseconds of each visit; every round visits all in random order."""
    sessions = [timed_model(path.read_bytes(), threads=threads) for path in models]
    times_NR = np.empty((len(models), rounds))
    for r in range(rounds):
        for n in np.random.default_rng([seed, r]).permutation(len(models)):
            times_NR[n, r] = np.median(sessions[n](WARMUP, RUNS))
    return times_NR


@dataclass(frozen=True, slots=True)
class Curve:
    """The front of a group: no network of it is both faster and more accurate. Ascending."""

    top1: Floats
    log_ms: Floats

    @classmethod
    def of(cls, top1_N: Floats, ms_N: Floats) -> Curve:
        """From all its networks."""
        order = np.argsort(ms_N, kind="stable")
        best = np.maximum.accumulate(top1_N[order])
        kept = order[np.r_[True, best[1:] > best[:-1]]]
        return cls(top1_N[kept], np.log(ms_N[kept]))

    def log_ms_at(self, top1_G: Floats) -> Floats:
        """Logarithm of the latency for each accuracy, linear between networks, (G,)."""
        return np.interp(top1_G, self.top1, self.log_ms)


@dataclass(frozen=True, slots=True)
class Speedup:
    """Times faster than a family at equal accuracy, over the accuracies that both reach."""

    top1_range: tuple[float, float]
    mean: float
    """Geometric, over the range."""
    interval: tuple[float, float]
    """95 %, from repeated rounds and the seeds' spread in accuracy."""
    least: float
    most: float

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "top1_range": list(self.top1_range),
            "mean": self.mean,
            "interval_95": list(self.interval),
            "least": self.least,
            "most": self.most,
        }


def speedup(
    subnets: tuple[Floats, Floats],
    family: tuple[Floats, Floats],
    top1_sd: tuple[Floats, Floats],
    seed: int = 0,
) -> Speedup | None:
    """Compare two groups; None where no accuracy is reached by both. A family of one network is
    compared at its accuracy.

    Args:
        subnets, family: (top1 (N,), visits (N, R) in milliseconds) of each.
        top1_sd: of each, how much its accuracies vary by themselves, points, (N,).
    """
    rng = np.random.default_rng(seed)
    ratio = _log_ratio(subnets, family)
    if ratio is None:
        return None
    bounds, log_G = ratio
    means = []
    for _ in range(RESAMPLES):
        pair = []
        for (top1_N, ms_NR), sd_N in zip((subnets, family), top1_sd, strict=True):
            rounds = rng.integers(0, ms_NR.shape[1], ms_NR.shape[1])
            pair.append((top1_N + rng.normal(0, sd_N), ms_NR[:, rounds]))
        resampled = _log_ratio(pair[0], pair[1])
        if resampled is not None:
            means.append(resampled[1].mean())
    low, high = np.exp(np.quantile(means, [0.025, 0.975])) if means else (np.nan, np.nan)
    return Speedup(
        top1_range=bounds,
        mean=float(np.exp(log_G.mean())),
        interval=(float(low), float(high)),
        least=float(np.exp(log_G.min())),
        most=float(np.exp(log_G.max())),
    )


def _log_ratio(
    subnets: tuple[Floats, Floats], family: tuple[Floats, Floats]
) -> tuple[tuple[float, float], Floats] | None:
    ours = Curve.of(subnets[0], np.median(subnets[1], axis=1))
    theirs = Curve.of(family[0], np.median(family[1], axis=1))
    low = max(ours.top1[0], theirs.top1[0])
    high = min(ours.top1[-1], theirs.top1[-1])
    if low > high:
        return None
    grid_G = np.linspace(low, high, GRID_POINTS)
    return (float(low), float(high)), theirs.log_ms_at(grid_G) - ours.log_ms_at(grid_G)


def compare_all(
    top1: Mapping[str, Floats], visits: Mapping[str, Floats], top1_sd: Mapping[str, Floats]
) -> dict[str, dict[str, Any] | None]:
    """The speedup over each family; the maps are by group."""
    ours = (top1["subnet"], visits["subnet"])
    found = {
        group: speedup(ours, (top1[group], visits[group]), (top1_sd["subnet"], top1_sd[group]))
        for group in top1
        if group != "subnet"
    }
    return {group: value.to_json() if value else None for group, value in found.items()}

"""Two-objective sets (least cost, most value) and their exact combination over factors.

The best trade-offs of a sum of small tables are found gene by gene, like its minimum
(`search.costs.costs.minimise`), with Pareto sets in place of numbers: union over the choices of a
gene, sums of pairs (Minkowski) where factors meet. Sets longer than a given width are thinned
to one point a cost interval; with enough width the result is exact.

Shapes: P points, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix
from search.costs import Factor, Floats


@dataclass(frozen=True, slots=True, eq=False)
class ParetoSet:
    """Trade-offs by rising cost and rising value; genes not yet decided are 0."""

    cost: Floats
    value: Floats
    genes: GeneMatrix
    """(P, G)"""


def non_dominated(cost: Floats, value: Floats) -> npt.NDArray[np.intp]:
    """Indices of the points that no other matches at lower cost or betters at equal cost.

    Sorted by cost; of equal points one is kept.
    """
    order = np.lexsort((-value, cost))
    best = np.maximum.accumulate(value[order])
    rises = np.r_[True, best[1:] > best[:-1]][: len(order)]
    kept: npt.NDArray[np.intp] = order[rises]
    return kept


def pareto_front(
    costs: Sequence[Factor],
    values: Sequence[Factor],
    n_choices: npt.NDArray[np.int64],
    width: int,
) -> ParetoSet:
    """Trade-offs between the sum of `costs` and the sum of `values` over all genes.

    Args:
        costs, values: factors over the same genes.
        n_choices: number of choices of each gene, (G,).
        width: points that a set keeps at most, 2 or more.
    """
    n_genes = len(n_choices)
    pending = [(f.columns, _leaves(f.table, 0.0 * f.table, n_genes)) for f in costs]
    pending += [(f.columns, _leaves(0.0 * f.table, f.table, n_genes)) for f in values]
    for column in reversed(range(n_genes)):
        touching = [item for item in pending if column in item[0]]
        pending = [item for item in pending if column not in item[0]]
        rest = tuple(sorted({c for columns, _ in touching for c in columns} - {column}))
        sets = np.empty([n_choices[c] for c in rest], object)
        for index in np.ndindex(*sets.shape):
            chosen = dict(zip(rest, index, strict=True))
            sets[index] = _union(
                [
                    _decide(_join(touching, chosen | {column: choice}, width), column, choice)
                    for choice in range(n_choices[column])
                ],
                width,
            )
        pending.append((rest, sets))
    return _join(pending, {}, width)


Messages = tuple[tuple[int, ...], npt.NDArray[Any]]
"""Columns, and an array of one `ParetoSet` for each choice of their genes."""


def _leaves(cost: Floats, value: Floats, n_genes: int) -> npt.NDArray[Any]:
    nothing = np.zeros((1, n_genes), np.uint8)
    sets = np.empty(cost.shape, object)
    for index in np.ndindex(*cost.shape):
        sets[index] = ParetoSet(cost[index].reshape(1), value[index].reshape(1), nothing)
    return sets


def _join(messages: Sequence[Messages], chosen: dict[int, int], width: int) -> ParetoSet:
    """Sum of one set of each message, given the chosen genes."""
    sets = [table[tuple(chosen[c] for c in columns)] for columns, table in messages]
    # Smallest first keeps the products small.
    sets.sort(key=lambda item: len(item.cost))
    total: ParetoSet = sets[0]
    for other in sets[1:]:
        cost = np.add.outer(total.cost, other.cost).ravel()
        value = np.add.outer(total.value, other.value).ravel()
        keep = _thin(cost, value, width)
        left, right = np.divmod(keep, len(other.cost))
        # Disjoint genes: what one set has decided is 0 in the other.
        total = ParetoSet(cost[keep], value[keep], total.genes[left] + other.genes[right])
    return total


def _union(sets: Sequence[ParetoSet], width: int) -> ParetoSet:
    cost = np.concatenate([item.cost for item in sets])
    value = np.concatenate([item.value for item in sets])
    keep = _thin(cost, value, width)
    return ParetoSet(cost[keep], value[keep], np.vstack([item.genes for item in sets])[keep])


def _decide(points: ParetoSet, column: int, choice: int) -> ParetoSet:
    genes = points.genes.copy()
    genes[:, column] = choice
    return ParetoSet(points.cost, points.value, genes)


def _thin(cost: Floats, value: Floats, width: int) -> npt.NDArray[np.intp]:
    """Non-dominated indices, at most `width`: the cheapest, and the best of each interval."""
    keep = non_dominated(cost, value)
    if len(keep) <= width:
        return keep
    at = cost[keep]
    interval = ((at - at[0]) * ((width - 2) / (at[-1] - at[0]))).astype(np.intp)
    last = np.r_[interval[1:] > interval[:-1], True]
    last[0] = True
    return keep[last]

"""Pareto sets of two objectives (low cost, high value), exact for sums of small tables.

The Pareto set of two sums of small tables is found by eliminating one gene at a time, like a
minimum (`search.costs.costs.minimise`), with sets of points in place of numbers: the union over the
choices of a gene, and Minkowski sums where factors meet. Sets longer than a given width are thinned
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
    """Points by rising cost and rising value; genes not yet eliminated are 0."""

    cost: Floats
    value: Floats
    genes: GeneMatrix
    """(P, G)"""


def non_dominated(cost: Floats, value: Floats) -> npt.NDArray[np.intp]:
    """Indices of the non-dominated points, by rising cost; of equal points the first."""
    order = np.lexsort((-value, cost))
    best = np.maximum.accumulate(value[order])
    rises = np.r_[True, best[1:] > best[:-1]][: len(order)]
    indices: npt.NDArray[np.intp] = order[rises]
    return indices


def pareto_front(
    costs: Sequence[Factor],
    values: Sequence[Factor],
    n_choices: npt.NDArray[np.int64],
    width: int,
) -> ParetoSet:
    """The Pareto set of the sum of `costs` and the sum of `values` over all networks.

    Args:
        costs, values: factors over the same genes.
        n_choices: number of choices of each gene, (G,).
        width: most points of a set, 2 or more.
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
"""Columns of genes, and a `ParetoSet` for each combination of their choices."""


def _leaves(cost: Floats, value: Floats, n_genes: int) -> npt.NDArray[Any]:
    nothing = np.zeros((1, n_genes), np.uint8)
    sets = np.empty(cost.shape, object)
    for index in np.ndindex(*cost.shape):
        sets[index] = ParetoSet(cost[index].reshape(1), value[index].reshape(1), nothing)
    return sets


def _join(messages: Sequence[Messages], chosen: dict[int, int], width: int) -> ParetoSet:
    """Minkowski sum of one set of each message, for the choices given."""
    sets = [table[tuple(chosen[c] for c in columns)] for columns, table in messages]
    # Smallest first keeps the products small.
    sets.sort(key=lambda item: len(item.cost))
    total: ParetoSet = sets[0]
    for other in sets[1:]:
        cost = np.add.outer(total.cost, other.cost).ravel()
        value = np.add.outer(total.value, other.value).ravel()
        keep = _thin(cost, value, width)
        left, right = np.divmod(keep, len(other.cost))
        # The sets have eliminated different genes: a gene of one is 0 in the other.
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
    """At most `width` non-dominated indices: the cheapest, and the best of each cost interval."""
    keep = non_dominated(cost, value)
    if len(keep) <= width:
        return keep
    at = cost[keep]
    interval = ((at - at[0]) * ((width - 2) / (at[-1] - at[0]))).astype(np.intp)
    last = np.r_[interval[1:] > interval[:-1], True]
    last[0] = True
    return keep[last]

"""An additive stand-in for the accuracy predictor, in the form of a cost.

As a sum of small tables it has exact optima (`search.evolution.block_decomposition`,
`search.pareto`), which are good places to start from where the true predictor is nearly additive.

Shapes: N architectures, D weights.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, Factor, Floats

RIDGE = 1e-9
"""Only makes the normal equations solvable: depth and the blocks it adds are collinear."""


def fit_additive(
    space: SearchSpace,
    genes: GeneMatrix,
    top1: Floats,
    *,
    weights: Floats | None = None,
    ridge: float = RIDGE,
    prior: CostModel | None = None,
) -> CostModel:
    """Least squares of one weight a resolution, a depth, a width, and a kind of a block.

    Args:
        genes: canonical rows, (N, n_genes).
        top1: their accuracies, percent, (N,).
        weights: how much each row counts, (N,); all alike if not given.
        ridge: strength of the pull towards `prior`, against a mean weight of 1.
        prior: an earlier fit of the same space; none pulls towards 0.
    """
    weights = np.ones(len(genes)) if weights is None else weights / weights.mean()
    groups = _groups(space)
    starts = np.cumsum([0, *(math.prod(shape) for _, shape, _, _ in groups)])
    x_ND = np.zeros((len(genes), starts[-1]))
    each, active = np.arange(len(genes)), space.active(genes)
    for (columns, shape, _, _), start in zip(groups, starts[:-1], strict=True):
        cell = np.ravel_multi_index(tuple(genes[:, c] for c in columns), shape)
        x_ND[each, start + cell] = active[:, columns[0]]
    mean = float(np.average(top1, weights=weights))
    before = np.zeros(starts[-1])
    if prior is not None:
        before = np.concatenate(
            [_weights(f, g) for f, g in zip(prior.factors, groups, strict=True)]
        )
    weighted_x = x_ND * weights[:, None]
    gram = weighted_x.T @ x_ND
    gram[np.diag_indices_from(gram)] += ridge * len(genes)
    rest = weighted_x.T @ (top1 - mean - x_ND @ before)
    solved = before + np.linalg.solve(gram, rest)
    parts = np.split(solved, starts[1:-1])
    factors = tuple(_factor(group, part) for group, part in zip(groups, parts, strict=True))
    return CostModel(space, factors, mean)


Group = tuple[tuple[int, ...], tuple[int, ...], npt.NDArray[np.bool_] | None, int]
"""Columns whose genes choose one weight together, their numbers of choices, and for a block that
a depth can leave out, at which depths it is there, and that depth's column."""


def _groups(space: SearchSpace) -> list[Group]:
    n = space.n_choices
    groups: list[Group] = [
        ((column,), (int(n[column]),), None, -1)
        for column, gene in enumerate(space.genes)
        if gene.block < 0
    ]
    for (s, b), columns in space.block_columns.items():
        exists = np.array(space.block_counts[s]) > b
        shape = tuple(int(n[c]) for c in columns)
        groups.append((columns, shape, None if exists.all() else exists, space.depth_columns[s]))
    return groups


def _factor(group: Group, weights: Floats) -> Factor:
    columns, shape, exists, depth = group
    table = weights.reshape(shape)
    if exists is None:
        return Factor(str(columns), columns, table)
    return Factor(str(columns), (depth, *columns), np.multiply.outer(exists, table))


def _weights(factor: Factor, group: Group) -> Floats:
    """The inverse of `_factor`: at the largest depth every block is there."""
    return (factor.table if group[2] is None else factor.table[-1]).ravel()

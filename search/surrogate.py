"""An additive surrogate of the accuracy predictor, as a sum of small tables.

Its exact front (`search.pareto`) is a good start where the predictor is nearly additive.

Shapes: N networks, D weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, Factor, Floats

RIDGE = 1e-9
"""Just enough to solve the normal equations: a depth and the blocks it adds are collinear."""


def fit_additive(
    space: SearchSpace,
    genes: GeneMatrix,
    top1: Floats,
) -> CostModel:
    """Least squares with one weight for each resolution, depth, width, and kind of a block.

    Args:
        genes: canonical rows, (N, n_genes).
        top1: their accuracies, percent, (N,).
    """
    terms = _terms(space)
    starts = np.cumsum([0, *(math.prod(term.shape) for term in terms)])
    x_ND = np.zeros((len(genes), starts[-1]))
    each, active = np.arange(len(genes)), space.active(genes)
    for term, start in zip(terms, starts[:-1], strict=True):
        cell = np.ravel_multi_index(tuple(genes[:, c] for c in term.columns), term.shape)
        x_ND[each, start + cell] = active[:, term.columns[0]]
    mean = float(top1.mean())
    gram = x_ND.T @ x_ND
    gram[np.diag_indices_from(gram)] += RIDGE * len(genes)
    fitted_D = np.linalg.solve(gram, x_ND.T @ (top1 - mean))
    parts = np.split(fitted_D, starts[1:-1])
    factors = tuple(_factor(term, part) for term, part in zip(terms, parts, strict=True))
    return CostModel(space, factors, mean)


class _Term(NamedTuple):
    """Genes that choose one weight together."""

    columns: tuple[int, ...]
    shape: tuple[int, ...]
    """Number of choices of each."""
    exists: npt.NDArray[np.bool_] | None = None
    """Depths at which the block is there; None: at all."""
    depth_column: int = -1


def _terms(space: SearchSpace) -> list[_Term]:
    n = space.n_choices
    terms = [
        _Term((column,), (int(n[column]),))
        for column, gene in enumerate(space.genes)
        if gene.block < 0
    ]
    for (s, b), columns in space.block_columns.items():
        exists = np.array(space.block_counts[s]) > b
        shape = tuple(int(n[c]) for c in columns)
        terms.append(
            _Term(columns, shape, None if exists.all() else exists, space.depth_columns[s])
        )
    return terms


def _factor(term: _Term, weights: Floats) -> Factor:
    table = weights.reshape(term.shape)
    name = str(term.columns)
    if term.exists is None:
        return Factor(name, term.columns, table)
    columns = (term.depth_column, *term.columns)
    return Factor(name, columns, np.multiply.outer(term.exists, table))

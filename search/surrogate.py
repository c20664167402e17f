"""An additive stand-in for the accuracy predictor, in the form of a cost.

As a sum of small tables it has exact optima (`search.costs.minimise`, `search.pareto`), which
are good places to start from where the true predictor is nearly additive.

Shapes: N architectures, C limits, D weights.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.space import GeneMatrix, SearchSpace
from search.costs import CostModel, Factor, Floats, block_scope, minimise
from search.problem import SubnetProblem

RIDGE = 1e-9
"""Only makes the normal equations solvable: depth and the blocks it adds are collinear."""
PRICE_ROUNDS = 24
PRICE_STEP = 2.0
PRICE_DECAY = 0.8


def fit_additive(space: SearchSpace, genes: GeneMatrix, top1: Floats) -> CostModel:
    """Least squares of one weight a resolution, a depth, a width, and a block's own genes.

    Args:
        genes: canonical rows, (N, n_genes).
        top1: their accuracies, percent, (N,).
    """
    scopes: list[tuple[tuple[int, ...], npt.NDArray[np.bool_]]] = [
        ((c,), np.ones(space.n_choices[c], bool))
        for c, gene in enumerate(space.genes)
        if gene.block < 0
    ]
    scopes += [block_scope(space, s, b) for s, b in space.block_columns]
    x_ND = np.zeros((len(genes), sum(present.size for _, present in scopes)))
    offset = 0
    for columns, present in scopes:
        cell = np.ravel_multi_index(tuple(genes[:, c] for c in columns), present.shape)
        x_ND[np.arange(len(genes)), offset + cell] = present.ravel()[cell]
        offset += present.size
    gram = x_ND.T @ x_ND
    gram[np.diag_indices_from(gram)] += RIDGE * len(genes)
    mean = float(top1.mean())
    weights = np.linalg.solve(gram, x_ND.T @ (top1 - mean))
    parts = np.split(weights, np.cumsum([present.size for _, present in scopes])[:-1])
    factors = tuple(
        Factor(str(columns), columns, part.reshape(present.shape))
        for (columns, present), part in zip(scopes, parts, strict=True)
    )
    return CostModel(space, factors, mean)


def priced(problem: SubnetProblem, surrogate: CostModel) -> GeneMatrix:
    """Networks of most surrogate accuracy when every limited cost has a price, (N, n_genes).

    Prices rise while their limit is broken and fall while it is met, by shrinking steps: a
    Lagrangian search. The rows lie around the limits, on either side.
    """
    space = problem.space
    accuracy = [Factor(f.name, f.columns, -f.table) for f in surrogate.factors]
    # Accuracy points per budget: from the whole span being worth one budget.
    log_price = np.full(len(problem.limits), np.log(surrogate.ceiling() - surrogate.floor() + 1e-9))
    rows, step = [], PRICE_STEP
    for _ in range(PRICE_ROUNDS):
        paid = [
            Factor(f.name, f.columns, f.table * (price / budget))
            for (name, budget), price in zip(problem.limits.items(), np.exp(log_price), strict=True)
            for f in problem.costs[name].factors
        ]
        row = space.canonical(minimise(accuracy + paid, space.n_choices)[None])
        rows.append(row)
        log_price += step * np.sign(problem.violations(row)[0])
        step *= PRICE_DECAY
    return np.unique(np.vstack(rows), axis=0)

"""Local search: climb from one network by the best change of one unit, then of two."""

from __future__ import annotations

import numpy as np

from models.spaces import GeneMatrix
from search.evolution.operators import neighbours
from search.evolution.problem import Evaluator

MAX_ROUNDS = 64
MAX_PAIRS = 512
"""Pairs of changes that are evaluated in a round, the best estimates first."""


def climb(evaluate: Evaluator, row: GeneMatrix) -> GeneMatrix:
    """The end of steepest ascent from the feasible `row`, (G,).

    Every single change is tried; where none helps, pairs of changes, in the order of the sum of
    their gains, which is exact for an additive predictor.
    """
    problem, space = evaluate.problem, evaluate.problem.space
    top1 = float(evaluate(row[None])[0])
    for _ in range(MAX_ROUNDS):
        around = neighbours(space, row)
        gains = evaluate(around.genes) - top1
        single = np.where(problem.feasible(around.genes), gains, -np.inf)
        if single.max(initial=-np.inf) > 0:
            row, top1 = around.genes[single.argmax()], top1 + float(single.max())
            continue
        first, second = np.nonzero(np.triu(around.unit[:, None] != around.unit))
        estimate = gains[first] + gains[second]
        ranked = np.argsort(-estimate, kind="stable")[: np.count_nonzero(estimate > 0)]
        first, second = first[ranked], second[ranked]
        pairs = space.canonical(
            np.where(around.changed[second], around.genes[second], around.genes[first])
        )
        pairs = pairs[problem.feasible(pairs)][:MAX_PAIRS]
        if not len(pairs):
            break
        values = evaluate(pairs)
        if values.max() <= top1:
            break
        row, top1 = pairs[values.argmax()], float(values.max())
    return row

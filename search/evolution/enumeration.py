"""Every network of a small space, such as is left of a supernet when most of it is frozen.

Shapes: N networks, G genes, C limits.
"""

from __future__ import annotations

import itertools

import numpy as np

from models.spaces import GeneMatrix, SearchSpace

SMALL = 4096
"""Networks up to which a space is enumerated instead of searched: a moment for every predictor."""


def is_small(space: SearchSpace) -> bool:
    """Whether `every_network` of it can be evaluated."""
    return space.cardinality <= SMALL


def every_network(space: SearchSpace) -> GeneMatrix:
    """Each network of a small space once, canonical, (N, G)."""
    rows = np.zeros((1, len(space.genes)), np.uint8)
    owned = {column for columns in space.block_columns.values() for column in columns}
    for column, count in enumerate(space.n_choices.tolist()):
        if column not in owned and column not in space.depth_columns:
            rows = _product(rows, [column], [(choice,) for choice in range(count)])
    for s, (counts, depth) in enumerate(zip(space.block_counts, space.depth_columns, strict=True)):
        deeper = []
        for choice, blocks in enumerate(counts):
            columns = [c for b in range(blocks) for c in space.block_columns[s, b]]
            kinds = itertools.product(*(range(space.n_choices[c]) for c in columns))
            deeper.append(_product(rows, [depth, *columns], [(choice, *kind) for kind in kinds]))
        rows = np.vstack(deeper)
    return rows


def _product(rows: GeneMatrix, columns: list[int], values: list[tuple[int, ...]]) -> GeneMatrix:
    """Each row with each tuple of `values` in `columns`."""
    result = np.repeat(rows, len(values), axis=0)
    result[:, columns] = np.tile(np.array(values, np.uint8), (len(rows), 1))
    return result

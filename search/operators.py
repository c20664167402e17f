"""Making new networks from old ones, on whole gene matrices; results are always canonical.

Genes move in *units*: the resolution, a depth, a width, all genes of a block together.

Shapes: N architectures, G genes, U units.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.space import GeneMatrix, SearchSpace

Feasible = Callable[[GeneMatrix], npt.NDArray[np.bool_]]


def units(space: SearchSpace) -> npt.NDArray[np.int64]:
    """The unit of each gene, (G,): 0, 1, ... in order of the columns."""
    numbers: dict[tuple[str, int, int], int] = {}
    keys = [
        ("block" if gene.block >= 0 else gene.name, gene.stage, gene.block) for gene in space.genes
    ]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def mutate(
    space: SearchSpace, parents: GeneMatrix, probability: float, rng: np.random.Generator
) -> GeneMatrix:
    """Redraw each unit with `probability`, uniformly over its choices."""
    unit_of = units(space)
    fresh = _draw(space, len(parents), rng)
    redrawn = rng.random((len(parents), unit_of[-1] + 1)) < probability
    # A block that a deeper stage wakes is drawn too: its canonical 0 means absent, not smallest.
    awake = np.where(space.active(parents), parents, fresh)
    return space.canonical(np.where(redrawn[:, unit_of], fresh, awake))


def crossover(
    space: SearchSpace, mothers: GeneMatrix, fathers: GeneMatrix, rng: np.random.Generator
) -> GeneMatrix:
    """Take each unit from either parent; where a parent lacks the block, from the other."""
    unit_of = units(space)
    fresh = _draw(space, len(mothers), rng)
    from_mother = rng.random((len(mothers), unit_of[-1] + 1)) < 0.5
    in_mother, in_father = space.active(mothers), space.active(fathers)
    from_mother_G = (from_mother[:, unit_of] | ~in_father) & in_mother
    child = np.where(from_mother_G, mothers, np.where(in_father, fathers, fresh))
    return space.canonical(child)


def repair(
    space: SearchSpace,
    genes: GeneMatrix,
    anchors: GeneMatrix,
    feasible: Feasible,
    rng: np.random.Generator,
) -> GeneMatrix:
    """Replace units of each infeasible row by those of its anchor until it is feasible.

    Units are replaced in a random order and their number is bisected, so the result stays
    near the limit: at most log2(U) + 1 rounds, and never worse than the anchor.

    Args:
        anchors: feasible networks, (N, G), or (1, G) for all rows alike.
    """
    broken = ~feasible(genes)
    if not broken.any():
        return genes
    unit_of = units(space)
    n_units = int(unit_of[-1]) + 1
    rows, anchors = genes[broken], np.broadcast_to(anchors, genes.shape)[broken]
    order = rng.permuted(np.tile(np.arange(n_units), (len(rows), 1)), axis=1)[:, unit_of]
    low, high = np.zeros(len(rows), np.int64), np.full(len(rows), n_units)
    mended = anchors.copy()
    for _ in range(n_units.bit_length()):
        middle = (low + high + 1) // 2
        trial = space.canonical(np.where(order < middle[:, None], anchors, rows))
        met = feasible(trial)
        # Not monotone, so a later trial may fail: keep the last that was feasible.
        mended[met] = trial[met]
        low, high = np.where(met, low, middle), np.where(met, middle - 1, high)
        high = np.maximum(high, low)
    result = genes.copy()
    result[broken] = mended
    return result


class Neighbours(NamedTuple):
    """All networks that differ from one in a single unit."""

    genes: GeneMatrix
    """(N, G), canonical."""
    changed: npt.NDArray[np.bool_]
    """(N, G): genes that the move sets, so that moves of different units can be joined."""
    unit: npt.NDArray[np.int64]
    """(N,)"""


def neighbours(space: SearchSpace, row: GeneMatrix) -> Neighbours:
    """Every network one unit away from `row`, (G,).

    A deeper stage's new blocks are alike: each kind of block in turn.
    """
    unit_of = units(space)
    moves: list[dict[int, int]] = [
        {column: choice}
        for column, gene in enumerate(space.genes)
        if gene.block < 0 and column not in space.depth_columns
        for choice in range(len(gene.choices))
        if choice != row[column]
    ]
    for s, (counts, depth) in enumerate(zip(space.block_counts, space.depth_columns, strict=True)):
        blocks = [space.block_columns[s, b] for b in range(counts[-1])]
        kinds = list(itertools.product(*(range(len(space.genes[c].choices)) for c in blocks[0])))
        count = counts[row[depth]]
        for index, other in enumerate(counts):
            if other < count:
                moves.append({depth: index})
            elif other > count:
                for kind in kinds:
                    new = [dict(zip(columns, kind, strict=True)) for columns in blocks[count:other]]
                    moves.append({depth: index} | {c: v for block in new for c, v in block.items()})
        for columns in blocks[:count]:
            moves += [
                dict(zip(columns, kind, strict=True))
                for kind in kinds
                if kind != tuple(row[list(columns)])
            ]
    genes = np.tile(row, (len(moves), 1))
    changed = np.zeros(genes.shape, bool)
    for n, move in enumerate(moves):
        columns_, values = list(move), list(move.values())
        genes[n, columns_] = values
        changed[n, columns_] = True
    unit = np.array([unit_of[min(move)] for move in moves], np.int64)
    return Neighbours(space.canonical(genes), changed, unit)


def _draw(space: SearchSpace, count: int, rng: np.random.Generator) -> GeneMatrix:
    """Uniform genes for every column, inactive ones too, (count, G)."""
    return rng.integers(0, space.n_choices, (count, len(space.genes)), dtype=np.uint8)

"""Making new networks from old ones, on whole gene matrices; results are always canonical.

Genes move in *units*: the resolution, the depth of a stage, the kernel and the expansion of
a block together.

Shapes: N architectures, G genes, U units.
"""

from __future__ import annotations

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

    A deeper stage's new blocks take one kernel and expansion, each pair of them in turn.
    """
    unit_of = units(space)
    pairs = [(k, e) for k in range(len(space.kernels)) for e in range(len(space.expands))]
    moves: list[dict[int, int]] = [{0: r} for r in range(len(space.resolutions)) if r != row[0]]
    for s, stage in enumerate(space.stages):
        depth = stage.depths[row[1 + s]]
        columns = [
            (space.column["kernel", s, b], space.column["expand", s, b])
            for b in range(stage.depths[-1])
        ]
        for index, other in enumerate(stage.depths):
            if other < depth:
                moves.append({1 + s: index})
            elif other > depth:
                for k, e in pairs:
                    new = {kc: k for kc, _ in columns[depth:other]}
                    new |= {ec: e for _, ec in columns[depth:other]}
                    moves.append({1 + s: index} | new)
        for kc, ec in columns[:depth]:
            moves += [{kc: k, ec: e} for k, e in pairs if (k, e) != (row[kc], row[ec])]
    genes = np.tile(row, (len(moves), 1))
    changed = np.zeros(genes.shape, bool)
    for n, move in enumerate(moves):
        columns_, values = list(move), list(move.values())
        genes[n, columns_] = values
        changed[n, columns_] = True
    unit = np.array([unit_of[min(move)] for move in moves])
    return Neighbours(space.canonical(genes), changed, unit)


def _draw(space: SearchSpace, count: int, rng: np.random.Generator) -> GeneMatrix:
    """Uniform genes for every column, inactive ones too, (count, G)."""
    return rng.integers(0, space.n_choices, (count, len(space.genes)), dtype=np.uint8)

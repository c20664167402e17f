"""Mutation, crossover and neighbourhoods on whole gene matrices; results are canonical.

A *unit* is what changes together: the resolution, a depth, a width, or all genes of a block.

Shapes: N networks, G genes, U units.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace


@lru_cache(maxsize=64)
def units(space: SearchSpace) -> npt.NDArray[np.int64]:
    """Number of each gene's unit, (G,): 0, 1, ... in the order of the columns."""
    numbers: dict[tuple[str, int, int], int] = {}
    keys = [
        ("block" if gene.block >= 0 else gene.name, gene.stage, gene.block) for gene in space.genes
    ]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


@lru_cache(maxsize=64)
def _columns(space: SearchSpace) -> npt.NDArray[np.intp]:
    """Columns of each unit, (U, most columns of a unit); shorter rows repeat their last column."""
    unit_of = units(space)
    columns = [np.flatnonzero(unit_of == unit) for unit in range(unit_of[-1] + 1)]
    most = max(map(len, columns))
    return np.array([[*own, *[own[-1]] * (most - len(own))] for own in columns])


@lru_cache(maxsize=64)
def _open_units(space: SearchSpace) -> npt.NDArray[np.int64]:
    """Units but the resolution in which there is a choice; some may be frozen."""
    unit_of = units(space)
    return np.array(sorted({*unit_of[space.n_choices > 1]} - {0}), np.int64)


@lru_cache(maxsize=64)
def _stages(space: SearchSpace) -> npt.NDArray[np.int64]:
    """Stage of each gene, (G,), counted from 1; 0 for the stem and what all stages share."""
    last = len(space.block_counts) - 1
    # Depths and widths of the stem come first, so the last of each belongs to the last stage.
    ends = {gene.name: gene.stage for gene in space.genes if gene.block < 0} | {"resolution": last}
    return np.array(
        [
            max(0, gene.stage + (1 if gene.block >= 0 else last + 1 - ends[gene.name]))
            for gene in space.genes
        ]
    )


def mutate(
    space: SearchSpace, parents: GeneMatrix, probability: float, rng: np.random.Generator
) -> GeneMatrix:
    """Redraw one unit of each row, and with `probability` a second and a third.

    The resolution stays, since islands are of one resolution.
    """
    count, columns_UW = len(parents), _columns(space)
    open_units = _open_units(space)
    if not len(open_units):
        return parents
    chosen = open_units[rng.integers(0, len(open_units), (count, 3))]
    more = rng.random((count, 2)) < probability
    chosen[:, 1:] = np.where(more, chosen[:, 1:], chosen[:, :1])
    children = parents.copy()
    columns = columns_UW[chosen].reshape(count, -1)
    children[np.arange(count)[:, None], columns] = _drawn(space, columns, rng)
    # A larger depth activates blocks, which are drawn too: their canonical 0 meant absent.
    depths = list(space.depth_columns)
    deeper = np.flatnonzero((children[:, depths] > parents[:, depths]).any(axis=1))
    row, column = np.nonzero(~space.active(parents[deeper]))
    grown = children[deeper]
    grown[row, column] = np.where(
        np.isin(column, depths), grown[row, column], _drawn(space, column, rng)
    )
    children[deeper] = grown
    return space.canonical(children)


def crossover(
    space: SearchSpace,
    parents_a: GeneMatrix,
    parents_b: GeneMatrix,
    by_stage: float,
    rng: np.random.Generator,
) -> GeneMatrix:
    """Take each unit from either parent; a block that one parent lacks, from the other.

    Args:
        by_stage: share of the rows that take whole stages from either parent instead.
    """
    count, unit_of, stage_of = len(parents_a), units(space), _stages(space)
    whole = int(by_stage * count)
    by_unit = rng.integers(0, 2, (count - whole, unit_of[-1] + 1), np.bool_)
    by_stages = rng.integers(0, 2, (whole, stage_of.max() + 1), np.bool_)
    from_a = np.vstack([by_stages.take(stage_of, axis=1), by_unit.take(unit_of, axis=1)])
    from_a = (from_a | ~space.active(parents_b)) & space.active(parents_a)
    return space.canonical(np.where(from_a, parents_a, parents_b))


class Neighbours(NamedTuple):
    """All networks that differ from one in a single unit."""

    genes: GeneMatrix
    """(N, G), canonical."""
    changed: npt.NDArray[np.bool_]
    """Genes that each change sets, (N, G), so that changes of different units can be combined."""
    unit: npt.NDArray[np.int64]
    """The unit changed, (N,)."""

    def pairs(self, space: SearchSpace) -> GeneMatrix:
        """Every network two changes of different units away, canonical, (P, G)."""
        first, second = np.nonzero(np.triu(self.unit[:, None] != self.unit))
        both = np.where(self.changed[second], self.genes[second], self.genes[first])
        return space.canonical(both)


def neighbours(space: SearchSpace, row: GeneMatrix) -> Neighbours:
    """Every network one unit away from `row`, (G,).

    The blocks that a larger depth adds are all of one kind, counted through the kinds of each; each
    kind is tried.
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
        kinds = [_kinds(space, space.block_columns[s, b]) for b in range(counts[-1])]
        count = counts[row[depth]]
        for index, other in enumerate(counts):
            if other < count:
                moves.append({depth: index})
            elif other > count:
                new = kinds[count:other]
                for i in range(max(map(len, new))):
                    moves.append({depth: index} | _merged(own[i % len(own)] for own in new))
        for own in kinds[:count]:
            moves += [kind for kind in own if any(row[c] != v for c, v in kind.items())]
    genes = np.tile(row, (len(moves), 1))
    changed = np.zeros(genes.shape, bool)
    for n, move in enumerate(moves):
        columns_, values = list(move), list(move.values())
        genes[n, columns_] = values
        changed[n, columns_] = True
    unit = np.array([unit_of[min(move)] for move in moves], np.int64)
    return Neighbours(space.canonical(genes), changed, unit)


def _kinds(space: SearchSpace, columns: tuple[int, ...]) -> list[dict[int, int]]:
    """Choices by column of each kind of a block."""
    choices = (range(len(space.genes[c].choices)) for c in columns)
    return [dict(zip(columns, kind, strict=True)) for kind in itertools.product(*choices)]


def _merged(parts: Iterable[dict[int, int]]) -> dict[int, int]:
    return {column: choice for part in parts for column, choice in part.items()}


KEY_BITS = 53


def keys(genes: GeneMatrix, group: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Hash of each row and its group, (N,): a sum of random weights below 2^53, which is exact in
    any order of summation, with the group in the bits above. Collisions are so rare that losing a
    network to one does not matter."""
    summed: npt.NDArray[np.int64] = (genes @ _key_weights(genes.shape[1])).astype(np.int64)
    return summed + (group << KEY_BITS)


@lru_cache(maxsize=64)
def _key_weights(n_genes: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).integers(1, 2**42, n_genes).astype(np.float64)


def rank_in_group(groups: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Index of each entry within its group, groups being contiguous, (N,)."""
    starts = np.flatnonzero(np.diff(groups.astype(np.int64), prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def _drawn(
    space: SearchSpace, columns: npt.NDArray[np.intp], rng: np.random.Generator
) -> GeneMatrix:
    """A uniform choice for each of `columns`."""
    drawn: GeneMatrix = (rng.random(columns.shape) * space.n_choices[columns]).astype(np.uint8)
    return drawn

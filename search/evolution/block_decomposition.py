"""A sum of small tables decomposed by block, which makes its minimum under a fixed frame cheap.

The *frame* is every gene that no block owns, except the depths: the resolution, and in a ResNet the
widths and the stem. With the frame fixed, a sum of small tables is one table for each block, over
its stage's depth and the block's kind (its kernel and expansion together). Minima over these tables
give the best kinds and depths, for many frames at once.

Shapes: I frames, B blocks, D depths, K kinds, G genes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.spaces import GeneMatrix, SearchSpace
from search.costs import CostModel, Factor, Floats


@dataclass(frozen=True, slots=True, eq=False)
class BlockTable:
    """One block's part of a cost: an array over genes of the frame, depth and kind."""

    frame: tuple[int, ...]
    """Columns of the genes of the frame that index the first axes."""
    table: Floats
    """(..., depths of the stage, kinds of the block)"""


@dataclass(frozen=True)
class BlockDecomposition:
    """The decomposition of the costs of one space."""

    space: SearchSpace

    @cached_property
    def frame_columns(self) -> tuple[int, ...]:
        """Columns of the genes of the frame."""
        depths = self.space.depth_columns
        return tuple(
            column
            for column, gene in enumerate(self.space.genes)
            if gene.block < 0 and column not in depths
        )

    @cached_property
    def _blocks(self) -> list[tuple[int, tuple[int, ...]]]:
        """Stage and columns of each block, in network order."""
        return [(s, columns) for (s, _), columns in self.space.block_columns.items()]

    @cached_property
    def _kinds(self) -> list[npt.NDArray[np.uint8]]:
        """Genes of each kind of each block, (kinds, columns of the block)."""
        n = self.space.n_choices
        return [
            np.array(list(itertools.product(*(range(n[c]) for c in columns))), np.uint8)
            for _, columns in self._blocks
        ]

    @cached_property
    def _exists_BDK(self) -> npt.NDArray[np.bool_]:
        """Which depths and kinds each block has; blocks with fewer are padded with False."""
        depths = [int(self.space.n_choices[c]) for c in self.space.depth_columns]
        shape = (len(self._blocks), max(depths), max(map(len, self._kinds)))
        exists = np.zeros(shape, bool)
        for b, (s, _) in enumerate(self._blocks):
            exists[b, : depths[s], : len(self._kinds[b])] = True
        return exists

    def split(self, model: CostModel) -> list[BlockTable]:
        """The table of each block; terms of the frame alone are left out."""
        space, n = self.space, self.space.n_choices
        block_of = {c: b for b, (_, columns) in enumerate(self._blocks) for c in columns}
        first = {space.depth_columns[s]: b for b, (s, _) in reversed([*enumerate(self._blocks)])}
        parts: list[list[Factor]] = [[] for _ in self._blocks]
        for factor in model.factors:
            owners = {block_of[c] for c in factor.columns if c in block_of}
            owners = owners or {first[c] for c in factor.columns if c in first}
            for owner in owners:  # one, or none for terms of the frame alone
                parts[owner].append(factor)
        tables = []
        for (s, columns), factors, kinds in zip(self._blocks, parts, self._kinds, strict=True):
            own = (space.depth_columns[s], *columns)
            frame = tuple(sorted({c for f in factors for c in f.columns} - set(own)))
            axes = (*frame, *own)
            total = np.zeros([n[c] for c in axes])
            for factor in factors:
                total += _broadcastable(factor, axes, n)
            shape = [n[c] for c in axes[: len(frame) + 1]]
            tables.append(BlockTable(frame, total.reshape(*shape, len(kinds))))
        return tables

    def gather(self, tables: Sequence[BlockTable], rows: GeneMatrix) -> Floats:
        """Tables under the frame of each row, (I, B, D, K); 0 where a block lacks the kind."""
        gathered_IBDK = np.zeros((len(rows), *self._exists_BDK.shape))
        for b, block in enumerate(tables):
            part = block.table[tuple(rows[:, c] for c in block.frame)]
            gathered_IBDK[:, b, : part.shape[-2], : part.shape[-1]] = part
        return gathered_IBDK

    def minimise(self, tables_IBDK: Floats, rows: GeneMatrix) -> GeneMatrix:
        """For the frame of each row, the network of the least sum, exact, canonical, (I, G)."""
        masked = np.where(self._exists_BDK, tables_IBDK, np.inf)
        kinds_IBD = masked.argmin(axis=3)
        least_IBD = masked.min(axis=3)
        genes = rows.copy()
        each = np.arange(len(rows))
        for s, column in enumerate(self.space.depth_columns):
            blocks = [b for b, (stage, _) in enumerate(self._blocks) if stage == s]
            depth = least_IBD[:, blocks].sum(axis=1).argmin(axis=1)
            genes[:, column] = depth
            for b in blocks:
                genes[:, self._blocks[b][1]] = self._kinds[b][kinds_IBD[each, b, depth]]
        return self.space.canonical(genes)


def _broadcastable(factor: Factor, axes: Sequence[int], n_choices: npt.NDArray[np.int64]) -> Floats:
    """The factor's table with one axis for each of `axes`, of length 1 where it has none."""
    order = sorted(range(len(factor.columns)), key=lambda i: axes.index(factor.columns[i]))
    shape = [n_choices[c] if c in factor.columns else 1 for c in axes]
    return factor.table.transpose(order).reshape(shape)

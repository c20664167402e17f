"""A part of a search space: the same genes, each with some of its choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from models.layers import LayerSpec
from models.spaces.arch import Arch
from models.spaces.genes import Gene, GeneMatrix, Scope
from models.spaces.space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class SpacePart(SearchSpace):
    """The networks of `whole` that have a kept choice for each active gene.

    It is a search space of its own: whatever samples, changes or enumerates networks of it stays
    within it. Its gene matrices count the kept choices; `to_whole` and `of_whole` translate.
    Unlike in the shipped families, blocks of one stage can have different choices, a gene can have
    a single one, and a block may exist at no depth.
    """

    whole: SearchSpace
    kept: tuple[tuple[int, ...], ...]
    """Of each gene of `whole` the kept choices, ascending indices, at least one."""

    @classmethod
    def of(cls, whole: SearchSpace, kept: Sequence[Sequence[int]]) -> SpacePart:
        """The part of `whole` with the choices `kept` of each gene, ascending indices."""
        return cls(
            name=whole.name,
            channels=whole.channels,
            classes=whole.classes,
            resolutions=tuple(whole.resolutions[i] for i in kept[0]),
            bn_eps=whole.bn_eps,
            whole=whole,
            kept=tuple(map(tuple, kept)),
        )

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """See `SearchSpace`."""
        return tuple(
            Gene(gene.name, gene.stage, gene.block, tuple(gene.choices[i] for i in kept))
            for gene, kept in zip(self.whole.genes, self.kept, strict=True)
        )

    @cached_property
    def block_counts(self) -> tuple[tuple[int, ...], ...]:
        """See `SearchSpace`."""
        return tuple(
            tuple(counts[i] for i in self.kept[column])
            for counts, column in zip(self.whole.block_counts, self.depth_columns, strict=True)
        )

    @property
    def depth_columns(self) -> tuple[int, ...]:
        """See `SearchSpace`."""
        return self.whole.depth_columns

    @cached_property
    def scopes(self) -> Mapping[str, Scope]:
        """See `SearchSpace`."""
        return {name: self._kept_scope(scope) for name, scope in self.whole.scopes.items()}

    def _kept_scope(self, scope: Scope) -> Scope:
        if scope.depth is None:
            return scope
        present = tuple(scope.present[i] for i in self.kept[scope.depth])
        return Scope(scope.columns, scope.depth, present)

    def walk(self, arch: Arch) -> Iterator[LayerSpec]:
        """See `SearchSpace`."""
        return self.whole.walk(arch)

    def covering(self) -> Iterator[Arch]:
        """Costs of a part are those of the whole, sliced (`search.costs`)."""
        raise NotImplementedError("compile costs of the whole space, then take them at this part")

    def at(self, resolutions: Iterable[int]) -> Self:
        """See `SearchSpace`."""
        common = self.whole.at(set(resolutions) & set(self.resolutions)).resolutions
        sizes = tuple(self.whole.resolutions.index(r) for r in common)
        return replace(self, resolutions=common, kept=(sizes, *self.kept[1:]))

    def to_json(self) -> dict[str, Any]:
        """Plain data, for comparison."""
        return {**self.whole.to_json(), "kept": [list(kept) for kept in self.kept]}

    def to_whole(self, genes: GeneMatrix) -> GeneMatrix:
        """The same networks as rows of `whole`, canonical, (N, G)."""
        rows: GeneMatrix = self._to_whole_GK[np.arange(genes.shape[1]), genes]
        return self.whole.canonical(rows)

    def of_whole(self, genes: GeneMatrix) -> GeneMatrix:
        """Canonical rows of `whole` as rows of this part, canonical, (N, G).

        A network outside this part becomes the one with the nearest kept choice of each gene.
        """
        rows: GeneMatrix = self._of_whole_GK[np.arange(genes.shape[1]), genes]
        return self.canonical(rows)

    @cached_property
    def _to_whole_GK(self) -> npt.NDArray[np.uint8]:
        table = np.zeros((len(self.kept), max(map(len, self.kept))), np.uint8)
        for column, kept in enumerate(self.kept):
            table[column, : len(kept)] = kept
        return table

    @cached_property
    def _of_whole_GK(self) -> npt.NDArray[np.uint8]:
        table = np.zeros((len(self.kept), int(self.whole.n_choices.max())), np.uint8)
        for column, kept in enumerate(self.kept):
            distance = np.abs(np.arange(table.shape[1])[:, None] - np.array(kept))
            table[column] = distance.argmin(axis=1)
        return table

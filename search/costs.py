"""A cost is a sum of small tables: latency, MACs and parameters in one form.

In this family the cost of a block depends on its own kernel and expansion and on the
resolution, because every block of a stage starts from the same width. So a network's cost is
a sum of factors, each a small array looked up by the few genes in its scope. Evaluating 10^5
architectures is one gather and one sum, and the exact minimum over a space of 10^20 is a
variable elimination over the same factors.

Shapes: N architectures, G genes, F factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.plan import LayerSpec, layer_plan
from models.space import Arch, GeneMatrix, SearchSpace

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """One term of a cost: an array indexed by the genes in its scope.

    Attributes:
        name: the layer it stands for.
        columns: columns of the gene matrix that index `table`, ascending.
        table: one axis per column, as long as that gene has choices.
    """

    name: str
    columns: tuple[int, ...]
    table: Floats


class LayerTable(Protocol):
    """What a latency table must answer; `latency_tables.table.LatencyTable` does."""

    @property
    def network_overhead_ms(self) -> float:
        """Time of one forward pass that belongs to no layer."""
        ...

    def layer_ms(self, layer: LayerSpec, /) -> float:
        """Time of one layer."""
        ...


@dataclass(frozen=True, eq=False)
class CostModel:
    """`constant` plus the sum of `factors`, over the networks of `space`."""

    space: SearchSpace
    factors: tuple[Factor, ...]
    constant: float = 0.0

    @classmethod
    def compile(
        cls,
        space: SearchSpace,
        layer_cost: Callable[[LayerSpec], float],
        constant: float = 0.0,
    ) -> CostModel:
        """Tabulate `layer_cost` over every layer that a network of `space` can have.

        Walks the uniform architectures of largest depth: they contain every block at every
        resolution, kernel and expansion.

        Args:
            layer_cost: cost of one layer.
            constant: cost of a network that belongs to no layer.
        """
        shape = (len(space.resolutions), len(space.kernels), len(space.expands))
        tables: dict[str, Floats] = {}
        for index in np.ndindex(*shape):
            r, k, e = index
            arch = space.uniform(space.resolutions[r], -1, space.kernels[k], space.expands[e])
            for layer in layer_plan(space, arch):
                tables.setdefault(layer.name, np.empty(shape))[index] = layer_cost(layer)
        blocks = {
            f"stage{s + 1}_block{b + 1}": (s, b)
            for s, stage in enumerate(space.stages)
            for b in range(stage.depths[-1])
        }
        factors = []
        for name, table in tables.items():
            if name in blocks:
                factors.append(_block_factor(space, name, *blocks[name], table))
            else:
                # Outside the elastic stages only the resolution can matter.
                assert (table == table[:, :1, :1]).all(), name
                factors.append(Factor(name, (0,), table[:, 0, 0].copy()))
        return cls(space, tuple(factors), constant)

    def evaluate(self, genes: GeneMatrix) -> Floats:
        """Cost of each row of a canonical gene matrix, (N,)."""
        # Integers below 2^53 in float64: the product is exact, and BLAS is the fast path.
        index_NF = genes.astype(np.float64) @ self._strides_GF + self._offsets_F
        summed: Floats = self._flat[index_NF.astype(np.intp)].sum(axis=1)
        return summed + self.constant

    def breakdown(self, arch: Arch) -> dict[str, float]:
        """Cost of each layer of `arch`, in order; with `constant` they add to its cost."""
        row = self.space.encode([arch])[0]
        names = {layer.name for layer in layer_plan(self.space, arch)}
        return {
            factor.name: float(factor.table[tuple(row[list(factor.columns)])])
            for factor in self.factors
            if factor.name in names
        }

    @cached_property
    def floor_genes(self) -> GeneMatrix:
        """The cheapest network of the space, exact, (G,); lowest genes where several tie."""
        return self._canonical(minimise(self.factors, self.space.n_choices))

    @property
    def floor_arch(self) -> Arch:
        """The cheapest network of the space, exact."""
        return self.space.decode(self.floor_genes[None])[0]

    def floor(self) -> float:
        """The least cost in the space; a budget below it cannot be met."""
        return float(self.evaluate(self.floor_genes[None])[0])

    def ceiling(self) -> float:
        """The largest cost in the space; a budget above it does not bind."""
        negated = [Factor(f.name, f.columns, -f.table) for f in self.factors]
        genes = self._canonical(minimise(negated, self.space.n_choices))
        return float(self.evaluate(genes[None])[0])

    def _canonical(self, genes: GeneMatrix) -> GeneMatrix:
        row: GeneMatrix = self.space.canonical(genes[None])[0]
        return row

    @cached_property
    def _flat(self) -> Floats:
        return np.concatenate([factor.table.ravel() for factor in self.factors])

    @cached_property
    def _strides_GF(self) -> Floats:
        strides = np.zeros((len(self.space.genes), len(self.factors)))
        for f, factor in enumerate(self.factors):
            for axis, column in enumerate(factor.columns):
                strides[column, f] = np.prod(factor.table.shape[axis + 1 :])
        return strides

    @cached_property
    def _offsets_F(self) -> Floats:
        sizes = [0, *(factor.table.size for factor in self.factors[:-1])]
        return np.cumsum(sizes).astype(np.float64)


def macs_costs(space: SearchSpace) -> CostModel:
    """Multiply-accumulates of one forward pass on one image."""
    return CostModel.compile(space, lambda layer: layer.macs)


def params_costs(space: SearchSpace) -> CostModel:
    """Trainable values of the extracted subnet."""
    return CostModel.compile(space, lambda layer: layer.params)


def latency_costs(space: SearchSpace, table: LayerTable) -> CostModel:
    """Milliseconds of one forward pass on the device of `table`.

    Raises:
        NotFound: if the table lacks a layer that a network of `space` can have.
    """
    return CostModel.compile(space, table.layer_ms, table.network_overhead_ms)


def weighted(models: Mapping[str, CostModel], weights: Mapping[str, float]) -> CostModel:
    """The cost model of `sum(weights[name] * models[name])`; all of one space."""
    names = list(weights)
    factors = tuple(
        Factor(f"{name}:{f.name}", f.columns, weights[name] * f.table)
        for name in names
        for f in models[name].factors
    )
    constant = sum(weights[name] * models[name].constant for name in names)
    return CostModel(models[names[0]].space, factors, constant)


def minimise(factors: Sequence[Factor], n_choices: npt.NDArray[np.int64]) -> GeneMatrix:
    """Genes of the least sum of `factors`, exact, (G,) uint8, by eliminating one gene at a time.

    Eliminating a gene replaces the factors that hold it by one over their other genes. Last
    column first is the order that keeps scopes small here: expansions and kernels leave a
    table over (resolution, depth), depths one over the resolution. Source: bucket
    elimination, Dechter, Artificial Intelligence 113 (1999).
    """
    pending = [(factor.columns, factor.table) for factor in factors]
    steps: list[tuple[int, tuple[int, ...], npt.NDArray[np.intp]]] = []
    for column in reversed(range(len(n_choices))):
        touching = [item for item in pending if column in item[0]]
        scope = tuple(sorted({c for columns, _ in touching for c in columns} | {column}))
        total = np.zeros([n_choices[c] for c in scope])
        for columns, table in touching:
            total += table.reshape([n_choices[c] if c in columns else 1 for c in scope])
        axis, rest = scope.index(column), tuple(c for c in scope if c != column)
        steps.append((column, rest, total.argmin(axis)))
        pending = [item for item in pending if column not in item[0]]
        pending.append((rest, total.min(axis)))
    genes = np.zeros(len(n_choices), np.uint8)
    for column, rest, best in reversed(steps):
        genes[column] = best[tuple(genes[list(rest)])]
    return genes


def block_scope(
    space: SearchSpace, s: int, b: int
) -> tuple[tuple[int, ...], npt.NDArray[np.bool_]]:
    """Which genes say what block `b` of stage `s` is, and for which of their choices it exists.

    Returns:
        Columns (kernel, expand), after the stage's depth where that can leave the block out,
        and an array over those genes' choices.
    """
    columns: tuple[int, ...] = (space.column["kernel", s, b], space.column["expand", s, b])
    depths = np.array(space.stages[s].depths)
    if depths[0] <= b:
        columns = (1 + s, *columns)
    present = np.ones([len(space.genes[column].choices) for column in columns], bool)
    if depths[0] <= b:
        present &= (depths > b)[:, None, None]
    return columns, present


def _block_factor(space: SearchSpace, name: str, s: int, b: int, table: Floats) -> Factor:
    """Factor of one elastic block; `table` is (resolution, kernel, expand)."""
    columns, present = block_scope(space, s, b)
    if present.ndim == 3:
        table = table[:, None]
    # A block that the depth leaves out costs nothing.
    return Factor(name, (0, *columns), np.where(present, table, 0.0))

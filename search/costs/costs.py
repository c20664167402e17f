"""Costs as sums of small tables: latency, MACs and parameters in one form.

A layer's cost depends on few genes (`SearchSpace.scopes`): the resolution, the genes of its block,
and in a ResNet the adjacent widths. So a network's cost is a sum of factors, each a small array
indexed by the genes in its scope. Evaluating 10^5 networks is one gather and one sum, and the exact
minimum over a space of 10^20 networks is a variable elimination over the same factors.

Shapes: N networks, G genes, F factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.table import Keys, layer_keys
from models.layers import LayerSpec
from models.spaces import GeneMatrix, Scope, SearchSpace, layer_plan

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """One term of a cost: an array indexed by the genes in its scope.

    Attributes:
        name: its layer.
        columns: columns of the gene matrix that index `table`, ascending.
        table: one axis for each column, of as many entries as the gene has choices.
    """

    name: str
    columns: tuple[int, ...]
    table: Floats


class LayerTable(Protocol):
    """What is needed of a latency table; `latency_tables.table.LatencyTable` has it."""

    @property
    def network_overhead_ms(self) -> float:
        """Part of the time of a forward pass that belongs to no layer."""
        ...

    def layer_ms(self, layer: LayerSpec, keys: Keys | None = None, /) -> float:
        """Time of one layer; `keys` saves computing its keys again."""
        ...


class Cost(Protocol):
    """What a network costs, as a sum over its layers (`CostModel`) or the largest of them
    (`search.costs.peak_memory.PeakModel`)."""

    @property
    def space(self) -> SearchSpace:
        """The networks that it is defined for."""
        ...

    @property
    def floor_genes(self) -> GeneMatrix:
        """A network of the least cost, exact, (G,)."""
        ...

    def evaluate(self, genes: GeneMatrix, /) -> Floats:
        """Cost of each row of a canonical gene matrix, (N,)."""
        ...

    def floor(self) -> float:
        """The least cost in the space; a budget below it cannot be met."""
        ...

    def ceiling(self) -> float:
        """The largest cost in the space; a budget above it does not bind."""
        ...

    def within(self, budget: float, /) -> tuple[CostModel, float]:
        """A sum and its limit, equivalent to this cost and `budget`: a network meets either both
        or neither."""
        ...

    def at_least(self, value: float, /) -> tuple[CostModel, float]:
        """A sum and its limit, equivalent to this cost being `value` or more."""
        ...

    def at(self, space: SearchSpace, /) -> Cost:
        """The same cost over `space`, which is this one with fewer choices of some genes."""
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

        Args:
            layer_cost: cost of one layer.
            constant: part of a network's cost that belongs to no layer.
        """
        return cls._tabulated(space, lambda layer, _: layer_cost(layer), constant)

    @classmethod
    def _tabulated(
        cls,
        space: SearchSpace,
        layer_cost: Callable[[LayerSpec, Keys], float],
        constant: float,
    ) -> CostModel:
        factors = []
        for name, places in _places(space).items():
            scope = space.scopes[name]
            table = np.full(space.n_choices[list(scope.columns)], np.nan)
            table.flat[list(places)] = [layer_cost(*place) for place in places.values()]
            factors.append(_factor(name, scope, table))
        return cls(space, tuple(factors), constant)

    def evaluate(self, genes: GeneMatrix) -> Floats:
        """Cost of each row of a canonical gene matrix, (N,)."""
        summed: Floats = self.terms(genes).sum(axis=1)
        return summed + self.constant

    def terms(self, genes: GeneMatrix) -> Floats:
        """Value of each factor for each row of a canonical gene matrix, (N, F)."""
        # float32 holds integers below 2^24 exactly, and BLAS makes the product fast.
        index_NF = genes.astype(np.float32) @ self._strides_GF + self._offsets_F
        terms_NF: Floats = self._flat.take(index_NF.astype(np.intp))
        return terms_NF

    def within(self, budget: float) -> tuple[CostModel, float]:
        """See `Cost.within`: a sum is its own equivalent."""
        return self, budget

    def at_least(self, value: float) -> tuple[CostModel, float]:
        """See `Cost.at_least`: the negative of this sum. Negation is exact."""
        return scaled(self, -1.0), -value

    def at(self, space: SearchSpace) -> CostModel:
        """The same cost over `space`, which is this one with fewer choices of some genes."""
        kept = [
            [whole.choices.index(choice) for choice in gene.choices]
            for whole, gene in zip(self.space.genes, space.genes, strict=True)
        ]
        if all(len(k) == n for k, n in zip(kept, self.space.n_choices, strict=True)):
            return self
        factors = tuple(
            Factor(f.name, f.columns, f.table[np.ix_(*(kept[c] for c in f.columns))])
            for f in self.factors
        )
        return CostModel(space, factors, self.constant)

    @cached_property
    def floor_genes(self) -> GeneMatrix:
        """The cheapest network of the space, exact, (G,); lowest genes where several tie."""
        return self._canonical(minimise(self.factors, self.space.n_choices))

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
    def _strides_GF(self) -> npt.NDArray[np.float32]:
        strides = np.zeros((len(self.space.genes), len(self.factors)), np.float32)
        for f, factor in enumerate(self.factors):
            for axis, column in enumerate(factor.columns):
                strides[column, f] = np.prod(factor.table.shape[axis + 1 :])
        return strides

    @cached_property
    def _offsets_F(self) -> npt.NDArray[np.float32]:
        sizes = [0, *(factor.table.size for factor in self.factors[:-1])]
        assert sum(sizes) < 2**24, "float32 counts no further"
        return np.cumsum(sizes).astype(np.float32)


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
    return CostModel._tabulated(space, table.layer_ms, table.network_overhead_ms)


def scaled(model: CostModel, factor: float) -> CostModel:
    """The cost model of `factor * model`."""
    return weighted({"": model}, {"": factor})


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


@lru_cache(maxsize=16)
def _places(space: SearchSpace) -> Mapping[str, Mapping[int, tuple[LayerSpec, Keys]]]:
    """By layer, its variants by their index in the flat table of any cost."""
    places: dict[str, dict[int, tuple[LayerSpec, Keys]]] = {name: {} for name in space.scopes}
    columns = {name: list(scope.columns) for name, scope in space.scopes.items()}
    shapes = {name: tuple(space.n_choices[c].tolist()) for name, c in columns.items()}
    for arch in space.covering():
        row = space.encode([arch])[0]
        for layer in layer_plan(space, arch):
            index = tuple(row[columns[layer.name]].tolist())
            position = int(np.ravel_multi_index(index, shapes[layer.name]))
            if position not in places[layer.name]:
                places[layer.name][position] = (layer, layer_keys(layer))
    return places


def _factor(name: str, scope: Scope, table: Floats) -> Factor:
    """`table` over the scope's genes, and over the depth if the layer can be absent."""
    if scope.depth is None:
        return Factor(name, scope.columns, table)
    columns = tuple(sorted((*scope.columns, scope.depth)))
    axis = columns.index(scope.depth)
    shape = [-1 if i == axis else 1 for i in range(len(columns))]
    present = np.array(scope.present).reshape(shape)
    # An absent layer costs nothing.
    return Factor(name, columns, np.where(present, np.expand_dims(table, axis), 0.0))

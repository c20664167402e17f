"""What all families of search spaces share. No torch and no I/O here.

An architecture has two forms, converted by `SearchSpace.encode` and `SearchSpace.decode`:

* `Arch`: frozen, hashable, canonical; a block that is not active does not exist.
* gene matrix: `(N, n_genes) uint8` of *indices into choices*, the form of every hot loop.
  Genes of inactive blocks are 0, so equal networks are equal rows.

Elastic dimensions after Cai et al., "Once-for-All", ICLR 2020 (arXiv 1908.09791), section 3.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Interval

from models.errors import FieldPath, InputError, InvalidDocument
from models.layers import LayerSpec, PublishedModule
from models.schema import STRICT, Name
from models.spaces.arch import Arch, OwnField
from models.spaces.arch_forms import ArchReader
from models.spaces.genes import Gene, GeneMatrix, GeneName, Resolutions, Scope


@dataclass(frozen=True, kw_only=True)
class SearchSpace(ABC):
    """What every family has: choices, genes, and the layers of each network."""

    family: ClassVar[str]
    __pydantic_config__ = STRICT

    name: Name
    """A latency table is of a space, by this name."""
    channels: Annotated[int, Interval(ge=1, le=1024)]
    """Input image channels."""
    classes: Annotated[int, Interval(ge=1, le=1_000_000)]
    """Outputs of the classifier."""
    resolutions: Resolutions
    """Sides of the square input, pixels, ascending."""
    bn_eps: Annotated[float, Interval(gt=0, le=1)] = 1e-5
    """Added to the variance by every batch norm."""

    # -- what a family defines ----------------------------------------------------

    @property
    @abstractmethod
    def genes(self) -> tuple[Gene, ...]:
        """The columns of the gene matrix, in order; the resolution comes first."""

    @property
    @abstractmethod
    def block_counts(self) -> tuple[tuple[int, ...], ...]:
        """Active blocks of each elastic stage, by choice of its depth."""

    @property
    @abstractmethod
    def depth_columns(self) -> tuple[int, ...]:
        """Column of the depth gene of each elastic stage."""

    @property
    @abstractmethod
    def scopes(self) -> Mapping[str, Scope]:
        """What each layer of the largest network depends on, by the layer's name."""

    @abstractmethod
    def walk(self, arch: Arch) -> Iterator[LayerSpec]:
        """The layers of a valid architecture, in order."""

    @abstractmethod
    def covering(self) -> Iterator[Arch]:
        """A few architectures that together contain every layer in every shape it can have."""

    def narrowed(self, choices: Mapping[GeneName, tuple[float, ...]]) -> Self:
        """The part of this space in which only these choices are open.

        Args:
            choices: open choices by kind of gene; of a kind without any, the largest alone.

        Raises:
            InputError: if the family cannot be narrowed, and so not be trained in phases.
        """
        raise InputError(f"recipe.space: the family {self.family!r} cannot be trained in phases")

    def published_modules(self, block: str) -> Mapping[str, PublishedModule]:
        """Where a published checkpoint of this family keeps each layer with weights, by the layer's
        name.

        Args:
            block: what the checkpoint calls the inner module of an inverted bottleneck.

        Raises:
            InputError: if none was published for this family.
        """
        raise InputError(f"space {self.name!r}: no checkpoint of family {self.family!r} is known")

    def kernels_of(self, layer: LayerSpec) -> tuple[int, ...]:
        """Every kernel size that a layer of the largest network can have, ascending."""
        genes = (self.genes[column] for column in self.scopes[layer.name].columns)
        choices = next((g.choices for g in genes if g.name == "kernel"), (layer.kernel,))
        return tuple(map(int, choices))

    # -- genes ---------------------------------------------------------------------------

    @cached_property
    def n_choices(self) -> npt.NDArray[np.int64]:
        """Number of choices of each gene, (n_genes,)."""
        return np.array([len(gene.choices) for gene in self.genes])

    @cached_property
    def column(self) -> Mapping[tuple[str, int, int], int]:
        """Column of a gene by (name, stage, block); -1 where stage or block does not apply."""
        return {(gene.name, gene.stage, gene.block): i for i, gene in enumerate(self.genes)}

    def choices_of(self, name: GeneName) -> tuple[float, ...]:
        """Every choice of the genes of one kind, ascending."""
        return tuple(sorted({c for gene in self.genes if gene.name == name for c in gene.choices}))

    @cached_property
    def block_columns(self) -> Mapping[tuple[int, int], tuple[int, ...]]:
        """Columns of the genes of each block, by (stage, block), in network order."""
        found: dict[tuple[int, int], list[int]] = {}
        for column, gene in enumerate(self.genes):
            if gene.block >= 0:
                found.setdefault((gene.stage, gene.block), []).append(column)
        return {key: tuple(found[key]) for key in sorted(found)}

    @cached_property
    def cardinality(self) -> int:
        """Exact number of different architectures (inactive genes do not count)."""
        shared = [
            len(gene.choices)
            for column, gene in enumerate(self.genes)
            if gene.block < 0 and column not in self.depth_columns
        ]
        kinds = {
            key: math.prod(len(self.genes[c].choices) for c in columns)
            for key, columns in self.block_columns.items()
        }
        stages = [
            sum(math.prod(kinds[s, b] for b in range(count)) for count in counts)
            for s, counts in enumerate(self.block_counts)
        ]
        return math.prod(shared) * math.prod(stages)

    def active(self, genes: GeneMatrix) -> npt.NDArray[np.bool_]:
        """Which genes of each row take part in its network, (N, n_genes)."""
        return self._kept_by(genes).view(bool)

    def canonical(self, genes: GeneMatrix) -> GeneMatrix:
        """The same networks with every inactive gene at 0."""
        return genes * self._kept_by(genes)

    def _kept_by(self, genes: GeneMatrix) -> GeneMatrix:
        """1 where a gene is active, else 0, (N, n_genes)."""
        first, *rest = [
            table.take(genes[:, columns] @ strides, axis=0)
            for columns, strides, table in self._kept
        ]
        for mask in rest:
            first *= mask
        return first

    @cached_property
    def _kept(self) -> list[tuple[list[int], npt.NDArray[np.int64], GeneMatrix]]:
        """Some depths' columns, how much a choice of each counts in an index, and for each index
        1 where a gene is active as far as these depths say, else 0. One such table, in most
        spaces: looking up a row of genes is much faster than multiplying the rows of each depth."""
        kept = []
        for stages in _few_choices(self.n_choices[list(self.depth_columns)].tolist()):
            shape = [len(self.block_counts[s]) for s in stages]
            table = np.ones((*shape, len(self.genes)), np.uint8)
            for (stage, block), columns in self.block_columns.items():
                if stage in stages:
                    exists = np.array(self.block_counts[stage]) > block
                    axis = [-1 if s == stage else 1 for s in stages]
                    table[..., columns] *= exists.reshape(*axis, 1)
            strides = np.cumprod([1, *shape[:0:-1]])[::-1]
            columns_of = [self.depth_columns[s] for s in stages]
            kept.append((columns_of, strides, table.reshape(-1, len(self.genes))))
        return kept

    def sample(self, count: int, rng: np.random.Generator) -> GeneMatrix:
        """`count` rows, every gene uniform over its choices, canonical."""
        genes = rng.integers(0, self.n_choices, (count, len(self.genes)), dtype=np.uint8)
        return self.canonical(genes)

    def sample_tilted(self, count: int, spread: float, rng: np.random.Generator) -> GeneMatrix:
        """`count` canonical rows whose choices of each kind lean together to small or large ones.

        They reach the smallest and largest networks of a space, which uniform samples hardly ever
        do. Resolutions stay uniform.

        Args:
            spread: standard deviation of the tilt; a tilt of t makes the last choice of a gene
                exp(2 t) times as likely as the first.
        """
        tilt = {
            name: rng.normal(0, spread, count) for name in ("depth", "width", "kernel", "expand")
        }
        genes = np.empty((count, len(self.genes)), np.uint8)
        for column, gene in enumerate(self.genes):
            place = np.linspace(-1, 1, len(gene.choices)) if len(gene.choices) > 1 else np.zeros(1)
            odds = np.exp(np.outer(tilt.get(gene.name, np.zeros(count)), place))
            steps = odds.cumsum(axis=1)
            drawn = rng.random(count) * steps[:, -1]
            genes[:, column] = (drawn[:, None] > steps[:, :-1]).sum(axis=1)
        return self.canonical(genes)

    # -- conversion ----------------------------------------------------------------------

    @cached_property
    def _block_parts(self) -> tuple[str, ...]:
        """The parts of an architecture that have an entry a block."""
        return tuple(sorted({gene.name for gene in self.genes if gene.block >= 0}, reverse=True))

    @cached_property
    def _lengths(self) -> Mapping[str, int]:
        """How many entries each part of an architecture has."""
        names = [gene.name for gene in self.genes]
        blocks = self._block_parts
        stages = {name: len(self.block_counts) * (name in blocks) for name in ("kernel", "expand")}
        return {"depth": names.count("depth"), "width": names.count("width"), **stages}

    @property
    def own_field(self) -> OwnField:
        """The field that this family's architectures have and others do not."""
        return "width" if self._lengths["width"] else "kernel"

    def read_arch(self, value: object) -> Arch:
        """The architecture of this space that a JSON value is, in any form (`ArchReader`).

        Raises:
            InvalidDocument: naming the field that is not as this space has it.
        """
        return ArchReader(self)(value)

    def validate(self, arch: Arch) -> None:
        """Check that `arch` is in this space.

        Raises:
            InvalidDocument: naming the first gene that is not.
        """
        for name, expected in self._lengths.items():
            if (found := len(getattr(arch, name))) != expected:
                unit = "entries" if name == "width" else "stages"
                text = f"expected {expected} {unit} for space {self.name!r}, got {found}"
                raise InvalidDocument.at("arch", (name,), text)
        for gene in self.genes:
            if gene.block < 0:
                place = (gene.name,) if gene.stage < 0 else (gene.name, gene.stage)
                _choice(_value(arch, gene), gene.choices, place)
        for s, count in enumerate(self._counts(arch)):
            for name in self._block_parts:
                values = getattr(arch, name)[s]
                if len(values) != count:
                    position = self.genes[self.depth_columns[s]].stage
                    raise InvalidDocument.at(
                        "arch",
                        (name, s),
                        f"expected {count} entries (depth[{position}]), got {len(values)}",
                    )
                for b, value in enumerate(values):
                    _choice(value, self.genes[self.column[name, s, b]].choices, (name, s, b))

    def _counts(self, arch: Arch) -> list[int]:
        """Active blocks of each stage."""
        genes = [self.genes[column] for column in self.depth_columns]
        return [
            counts[gene.choices.index(arch.depth[gene.stage])]
            for gene, counts in zip(genes, self.block_counts, strict=True)
        ]

    def encode(self, archs: Iterable[Arch]) -> GeneMatrix:
        """Gene matrix of `archs`, (N, n_genes) uint8.

        Raises:
            InputError: if one is not in this space.
        """
        rows = []
        for arch in archs:
            self.validate(arch)
            counts = self._counts(arch)
            rows.append(
                [
                    0
                    if gene.block >= 0 and gene.block >= counts[gene.stage]
                    else gene.choices.index(_value(arch, gene))
                    for gene in self.genes
                ]
            )
        return np.array(rows, np.uint8).reshape(len(rows), len(self.genes))

    def decode(self, genes: GeneMatrix) -> list[Arch]:
        """The architectures of a gene matrix (the inverse of `encode` on canonical rows).

        Raises:
            InputError: if the matrix has another width or an index out of range.
        """
        if genes.ndim != 2 or genes.shape[1] != len(self.genes):
            raise InputError(f"genes: expected (N, {len(self.genes)}), got {genes.shape}")
        if (genes >= self.n_choices).any():
            raise InputError(f"genes: index out of range for space {self.name!r}")
        return [self._decode_row(row.tolist()) for row in genes]

    def _decode_row(self, row: Sequence[int]) -> Arch:
        counts = [
            stage[row[column]]
            for stage, column in zip(self.block_counts, self.depth_columns, strict=True)
        ]
        shared: dict[str, list[Any]] = {"resolution": [], "depth": [], "width": []}
        blocks: dict[str, list[list[Any]]] = {
            gene.name: [[] for _ in counts] for gene in self.genes if gene.block >= 0
        }
        for gene, index in zip(self.genes, row, strict=True):
            value = gene.choices[index]
            if gene.block < 0:
                shared[gene.name].append(value)
            elif gene.block < counts[gene.stage]:
                blocks[gene.name][gene.stage].append(value)
        return Arch(
            shared["resolution"][0],
            tuple(shared["depth"]),
            tuple(map(tuple, blocks.get("kernel", []))),
            tuple(map(tuple, blocks["expand"])),
            tuple(shared["width"]),
        )

    # -- named corners, and parts --------------------------------------------------------

    @property
    def largest(self) -> Arch:
        """Every gene at its last choice."""
        return self._decode_row((self.n_choices - 1).tolist())

    @property
    def smallest(self) -> Arch:
        """Every gene at its first choice."""
        return self._decode_row([0] * len(self.genes))

    def at(self, resolutions: Iterable[int]) -> Self:
        """The part of this space at those of its resolutions that are in `resolutions`.

        Raises:
            InputError: if none is.
        """
        wanted = set(resolutions)
        kept = tuple(r for r in self.resolutions if r in wanted)
        if not kept:
            raise InputError(
                f"space {self.name!r} has no resolution of {sorted(wanted)}; "
                f"it has {list(self.resolutions)}"
            )
        return self if kept == self.resolutions else replace(self, resolutions=kept)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of `models.spaces.files.read_space`."""
        return {"family": self.family, **asdict(self)}


def _few_choices(sizes: Sequence[int], most: int = 4096) -> list[list[int]]:
    """Positions of `sizes` in runs whose product stays at or under `most`, where it can."""
    runs: list[list[int]] = [[]]
    for position, size in enumerate(sizes):
        if runs[-1] and size * math.prod(sizes[i] for i in runs[-1]) > most:
            runs.append([])
        runs[-1].append(position)
    return runs


def _value(arch: Arch, gene: Gene) -> float:
    """What `arch` has for an active gene."""
    if gene.name == "resolution":
        return arch.resolution
    values = getattr(arch, gene.name)[gene.stage]
    found: float = values[gene.block] if gene.block >= 0 else values
    return found


def _choice(value: float, choices: tuple[float, ...], path: FieldPath) -> None:
    if value not in choices:
        raise InvalidDocument.at("arch", path, f"expected one of {list(choices)}, got {value}")

"""What can be searched: a space is data, an architecture is a value.

No torch and no I/O here, so that search and the API start without them.

Two forms of an architecture, converted by `SearchSpace.encode` and `SearchSpace.decode`:

* `Arch`: frozen, hashable, canonical - a block that is not active does not exist.
* gene matrix: `(N, n_genes) uint8` of *indices into choices*, the form of every hot loop.
  Columns: resolution, the depth of each stage, the kernel of each block, the expansion of
  each block. Genes of inactive blocks are 0, so equal networks are equal rows.

Elastic dimensions after Cai et al., "Once-for-All", ICLR 2020 (arXiv 1908.09791), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.errors import InputError

Activation = Literal["relu", "relu6", "hswish"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu6", "hswish")
GeneMatrix = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet. Inner tuples hold one entry per active block of the stage.

    Attributes:
        resolution: input height and width, pixels.
        depth: active blocks of each stage.
        kernel: depthwise kernel size of each active block.
        expand: expansion ratio of each active block.
    """

    resolution: int
    depth: tuple[int, ...]
    kernel: tuple[tuple[int, ...], ...]
    expand: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """The form used in files, the API, ONNX metadata and the database."""
        return {
            "resolution": self.resolution,
            "depth": list(self.depth),
            "kernel": [list(stage) for stage in self.kernel],
            "expand": [list(stage) for stage in self.expand],
        }

    @classmethod
    def from_json(cls, value: object) -> Arch:
        """Read the JSON form; only its shape is checked here, the choices by the space.

        Raises:
            InputError: naming the field, what was expected and what was found.
        """
        if not isinstance(value, Mapping):
            raise InputError(f"arch: expected an object, got {type(value).__name__}")
        fields = ("resolution", "depth", "kernel", "expand")
        if unknown := set(value) - set(fields):
            raise InputError(f"arch: unknown field {min(map(str, unknown))!r}; expected {fields}")
        if missing := [field for field in fields if field not in value]:
            raise InputError(f"arch: field {missing[0]!r} is missing; expected {fields}")
        arch = cls(
            _integer(value["resolution"], "arch.resolution"),
            _integers(value["depth"], "arch.depth"),
            tuple(_integers(s, "arch.kernel") for s in _sequence(value["kernel"], "arch.kernel")),
            tuple(_integers(s, "arch.expand") for s in _sequence(value["expand"], "arch.expand")),
        )
        for name, stages in (("kernel", arch.kernel), ("expand", arch.expand)):
            if tuple(len(stage) for stage in stages) != arch.depth:
                raise InputError(
                    f"arch.{name}: expected one list a stage with one entry an active block, "
                    f"lengths {list(arch.depth)} as in depth, got {[len(s) for s in stages]}"
                )
        return arch


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage: blocks of one width, the first of which carries the stride."""

    width: int
    """Output channels of every block."""
    stride: int
    act: Activation
    se: bool
    """Squeeze-and-excitation in every block."""
    depths: tuple[int, ...]
    """Allowed numbers of active blocks, ascending."""


@dataclass(frozen=True, slots=True)
class Gene:
    """One column of the gene matrix."""

    name: Literal["resolution", "depth", "kernel", "expand"]
    stage: int
    block: int
    choices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A MobileNetV3-style space (OFA, appendix A; Howard et al. 2019).

    stem conv 3x3 -> fixed first block (k3, no expansion) -> elastic stages
    -> 1x1 conv to `head_width` -> mean -> 1x1 conv to `feature_width` -> linear to `classes`.
    """

    name: str
    channels: int
    """Input image channels."""
    classes: int
    resolutions: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    stem_width: int
    stem_stride: int
    first_width: int
    first_act: Activation
    stages: tuple[StageSpec, ...]
    head_width: int
    feature_width: int
    act: Activation
    """Activation of the stem and the head."""
    bn_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("resolutions", "kernels", "expands"):
            _ascending(getattr(self, name), f"space.{name}")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise InputError(f"space.kernels: expected odd sizes, got {self.kernels}")
        if not self.stages:
            raise InputError("space.stages: expected at least one stage, got none")
        for index, stage in enumerate(self.stages):
            _ascending(stage.depths, f"space.stages[{index}].depths")
            if stage.stride not in (1, 2):
                raise InputError(
                    f"space.stages[{index}].stride: expected 1 or 2, got {stage.stride}"
                )
        for act in (self.act, self.first_act, *(stage.act for stage in self.stages)):
            if act not in ACTIVATIONS:
                raise InputError(
                    f"space: unknown activation {act!r}; expected one of {ACTIVATIONS}"
                )

    # -- genes ---------------------------------------------------------------------------

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """The columns of the gene matrix, in order."""
        blocks = [(s, b) for s, spec in enumerate(self.stages) for b in range(spec.depths[-1])]
        return (
            Gene("resolution", -1, -1, self.resolutions),
            *(Gene("depth", s, -1, spec.depths) for s, spec in enumerate(self.stages)),
            *(Gene("kernel", s, b, self.kernels) for s, b in blocks),
            *(Gene("expand", s, b, self.expands) for s, b in blocks),
        )

    @cached_property
    def n_choices(self) -> npt.NDArray[np.int64]:
        """Number of choices of each gene, (n_genes,)."""
        return np.array([len(gene.choices) for gene in self.genes])

    @cached_property
    def column(self) -> Mapping[tuple[str, int, int], int]:
        """Column of a gene by (name, stage, block); -1 where stage or block does not apply."""
        return {(gene.name, gene.stage, gene.block): i for i, gene in enumerate(self.genes)}

    @cached_property
    def cardinality(self) -> int:
        """Exact number of different architectures (inactive genes do not count)."""
        per_block = len(self.kernels) * len(self.expands)
        stages: list[int] = [sum(per_block**d for d in stage.depths) for stage in self.stages]
        return len(self.resolutions) * math.prod(stages)

    def active(self, genes: GeneMatrix) -> npt.NDArray[np.bool_]:
        """Which genes of each row take part in its network, (N, n_genes)."""
        stage_of, block_of, depths_SD = self._block_columns
        mask = np.ones(genes.shape, bool)
        mask[:, -len(stage_of) :] = depths_SD[stage_of, genes[:, 1 + stage_of]] > block_of
        return mask

    @cached_property
    def _block_columns(self) -> tuple[npt.NDArray[np.int64], ...]:
        """Stage and block of each kernel and expand column, and depths by (stage, index)."""
        columns = [(gene.stage, gene.block) for gene in self.genes if gene.block >= 0]
        stage_of, block_of = np.array(columns).T
        depths_SD = np.zeros((len(self.stages), max(len(s.depths) for s in self.stages)), np.int64)
        for s, stage in enumerate(self.stages):
            depths_SD[s, : len(stage.depths)] = stage.depths
        return stage_of, block_of, depths_SD

    def canonical(self, genes: GeneMatrix) -> GeneMatrix:
        """The same networks with every inactive gene at 0."""
        return np.where(self.active(genes), genes, 0).astype(np.uint8)

    def sample(self, count: int, rng: np.random.Generator) -> GeneMatrix:
        """`count` rows, every gene uniform over its choices, canonical."""
        genes = rng.integers(0, self.n_choices, (count, len(self.genes)), dtype=np.uint8)
        return self.canonical(genes)

    # -- conversion ----------------------------------------------------------------------

    def validate(self, arch: Arch) -> None:
        """Check that `arch` is in this space.

        Raises:
            InputError: naming the first gene that is not.
        """
        n_stages = len(self.stages)
        for name in ("depth", "kernel", "expand"):
            if len(getattr(arch, name)) != n_stages:
                raise InputError(
                    f"arch.{name}: expected {n_stages} stages for space {self.name!r}, "
                    f"got {len(getattr(arch, name))}"
                )
        _choice(arch.resolution, self.resolutions, "arch.resolution")
        for s, stage in enumerate(self.stages):
            _choice(arch.depth[s], stage.depths, f"arch.depth[{s}]")
            for name, choices in (("kernel", self.kernels), ("expand", self.expands)):
                values = getattr(arch, name)[s]
                if len(values) != arch.depth[s]:
                    raise InputError(
                        f"arch.{name}[{s}]: expected {arch.depth[s]} entries (depth[{s}]), "
                        f"got {len(values)}"
                    )
                for b, value in enumerate(values):
                    _choice(value, choices, f"arch.{name}[{s}][{b}]")

    def encode(self, archs: Iterable[Arch]) -> GeneMatrix:
        """Gene matrix of `archs`, (N, n_genes) uint8.

        Raises:
            InputError: if one is not in this space.
        """
        rows = []
        for arch in archs:
            self.validate(arch)
            rows.append([self._gene_index(gene, arch) for gene in self.genes])
        return np.array(rows, np.uint8).reshape(len(rows), len(self.genes))

    def _gene_index(self, gene: Gene, arch: Arch) -> int:
        if gene.name == "resolution":
            return gene.choices.index(arch.resolution)
        if gene.name == "depth":
            return gene.choices.index(arch.depth[gene.stage])
        if gene.block >= arch.depth[gene.stage]:
            return 0
        values: tuple[tuple[int, ...], ...] = getattr(arch, gene.name)
        return gene.choices.index(values[gene.stage][gene.block])

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
        depth = tuple(stage.depths[row[1 + s]] for s, stage in enumerate(self.stages))

        def values(name: str, choices: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
            return tuple(
                tuple(choices[row[self.column[name, s, b]]] for b in range(d))
                for s, d in enumerate(depth)
            )

        return Arch(
            self.resolutions[row[0]],
            depth,
            values("kernel", self.kernels),
            values("expand", self.expands),
        )

    # -- named corners -------------------------------------------------------------------

    def uniform(self, resolution: int, depth_index: int, kernel: int, expand: int) -> Arch:
        """The architecture whose stages all take one depth index, kernel and expansion."""
        depth = tuple(stage.depths[depth_index] for stage in self.stages)
        arch = Arch(
            resolution,
            depth,
            tuple((kernel,) * d for d in depth),
            tuple((expand,) * d for d in depth),
        )
        self.validate(arch)
        return arch

    @property
    def largest(self) -> Arch:
        """Every gene at its last choice."""
        return self.uniform(self.resolutions[-1], -1, self.kernels[-1], self.expands[-1])

    @property
    def smallest(self) -> Arch:
        """Every gene at its first choice."""
        return self.uniform(self.resolutions[0], 0, self.kernels[0], self.expands[0])

    # -- files ---------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchSpace:
        """Read a space from plain data (a card, a recipe or a file of the user's).

        Raises:
            InputError: naming the missing, unknown or impossible field.
        """
        try:
            stages = tuple(
                StageSpec(**{**stage, "depths": tuple(stage["depths"])})
                for stage in value["stages"]
            )
            lists = {name: tuple(value[name]) for name in ("resolutions", "kernels", "expands")}
            return cls(**{**value, **lists, "stages": stages})
        except (KeyError, TypeError) as error:
            raise InputError(f"space: {error}; see docs for the fields of a space") from error


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of `divisor`, never more than 10 % below `value`.

    Source: MobileNetV2/V3 reference definition, as used by OFA for every width.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where}: expected an integer, got {value!r}")
    return value


def _sequence(value: object, where: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"{where}: expected a list, got {value!r}")
    return value


def _integers(value: object, where: str) -> tuple[int, ...]:
    return tuple(_integer(item, where) for item in _sequence(value, where))


def _choice(value: int, choices: tuple[int, ...], where: str) -> None:
    if value not in choices:
        raise InputError(f"{where}: expected one of {list(choices)}, got {value}")


def _ascending(values: tuple[int, ...], where: str) -> None:
    if not values or min(values) < 1 or list(values) != sorted(set(values)):
        raise InputError(f"{where}: expected ascending positive integers, got {list(values)}")

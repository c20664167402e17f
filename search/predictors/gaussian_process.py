"""The accuracy predictor: a Gaussian process over thermometer-coded genes.

A thousand measured subnets are enough: of 1,700 published ImageNet accuracies of the MobileNetV3
space, a fit on 1,000 predicts the rest to 0.055 points; a ridge regression on the same features, to
0.17.

Coding: a gene with ordered choices c0 < c1 < ... becomes one bit per threshold, "at least c1",
"at least c2", ...; genes of blocks also have "at least c0", that is, active. So the distance of two
choices is the number of steps between them, and an inactive block is one step below its smallest
choice.

Kernel, for coded rows x and z (Rasmussen & Williams, "Gaussian Processes for Machine
Learning", 2006, eq. 4.31 and section 5.1), all genes of one kind in one stage sharing a
weight:

    k(x, z) = sum_d linear_d x_d z_d + rbf_variance * exp(-1/2 sum_d rbf_d (x_d - z_d)^2)

The linear part models the additive effect of every choice, the other the rest.

Shapes: N rows to predict, M rows measured, G genes, D bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import CorruptBundle, InputError
from models.spaces import GeneMatrix, SearchSpace, read_space
from search.costs import Floats
from search.predictors.files import Tensors, save_predictor
from search.predictors.protocol import Provenance

KIND = "gaussian-process"
CHUNK = 512
"""Rows predicted at a time: CHUNK x M numbers stay in a core's cache."""


class Coding:
    """Thermometer code of the genes of `trained`, for gene matrices of `space`.

    Args:
        trained: the space whose choices define the bits.
        space: the same space or a part of it: the same stages, fewer choices.

    Raises:
        InputError: if `space` has a gene or a choice that `trained` lacks.
    """

    def __init__(self, trained: SearchSpace, space: SearchSpace) -> None:
        self.space = space
        bits = [
            (gene, threshold)
            for gene in trained.genes
            for threshold in (gene.choices if gene.block >= 0 else gene.choices[1:])
        ]
        self.groups: list[tuple[str, int]] = [(gene.name, gene.stage) for gene, _ in bits]
        known = {(gene.name, gene.stage, gene.block): gene.choices for gene in trained.genes}
        for gene in space.genes:
            choices = known.get((gene.name, gene.stage, gene.block), ())
            if missing := set(gene.choices) - set(choices):
                raise InputError(
                    f"predictor: expected {gene.name} of stage {gene.stage + 1} among "
                    f"{list(choices)} as it was fitted on, got {min(missing)}; "
                    f"fit one for space {space.name!r} or leave that choice out"
                )
        if len(space.block_counts) != len(trained.block_counts):
            raise InputError(
                f"predictor: fitted on {len(trained.block_counts)} stages, "
                f"space {space.name!r} has {len(space.block_counts)}"
            )
        # A block that `space` lacks reads the padding column, whose level is always 0.
        n_genes = len(space.genes)
        self._column_D = np.array(
            [space.column.get((gene.name, gene.stage, gene.block), n_genes) for gene, _ in bits]
        )
        # A level is the index of a choice plus 1; 0 is a gene that is not active.
        self._level_D = np.array(
            [
                1 + np.searchsorted(space.genes[column].choices, threshold)
                if column < n_genes
                else 1
                for column, (_, threshold) in zip(self._column_D, bits, strict=True)
            ],
            np.uint8,
        )

    @cached_property
    def bits_of_choices_DC(self) -> npt.NDArray[np.float32]:
        """1 where a choice of a gene has the bit, (D, genes x most choices)."""
        most = int(self.space.n_choices.max())
        has_DGK = np.zeros((len(self._level_D), len(self.space.genes) + 1, most), np.float32)
        for bit, (column, level) in enumerate(zip(self._column_D, self._level_D, strict=True)):
            has_DGK[bit, column, level - 1 :] = 1
        return has_DGK[:, :-1].reshape(len(self._level_D), -1)

    def __call__(self, genes: GeneMatrix) -> Floats:
        """Bits of each row, (N, D) of 0.0 and 1.0."""
        return self.bits(genes).astype(np.float64)

    def bits(self, genes: GeneMatrix) -> npt.NDArray[np.bool_]:
        """Bits of each row, (N, D)."""
        levels = np.zeros((len(genes), genes.shape[1] + 1), np.uint8)
        np.multiply(genes + np.uint8(1), self.space.active(genes), out=levels[:, :-1])
        bits_ND: npt.NDArray[np.bool_] = levels.take(self._column_D, axis=1) >= self._level_D
        return bits_ND


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Weights of the two parts of the covariance, per bit."""

    linear_D: Floats
    rbf_D: Floats
    rbf_variance: float

    def rbf(self, x_ND: Floats, z_MD: Floats) -> Floats:
        """exp(-1/2 weighted squared distance), (N, M)."""
        scale = np.sqrt(self.rbf_D)
        x, z = x_ND * scale, z_MD * scale
        squared = (x**2).sum(1)[:, None] + (z**2).sum(1) - 2 * (x @ z.T)
        # Rounding may leave a squared distance a hair below 0.
        similarity: Floats = np.exp(-0.5 * np.maximum(squared, 0))
        return similarity


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The posterior mean given M measured networks; made by `gaussian_process_fit.fit`."""

    provenance: Provenance
    trained: SearchSpace
    """The space it was fitted on."""
    space: SearchSpace
    """The space of the gene matrices that it predicts."""
    genes_MG: GeneMatrix
    """The measured networks, genes of `trained`."""
    dual_M: Floats
    """Solution of (K + noise) dual = measured - mean."""
    mean: float
    """Mean of the measured accuracies, percent."""
    kernel: Kernel

    def predict(self, genes: GeneMatrix) -> Floats:
        """Top-1 accuracy in percent of each row of a canonical gene matrix, (N,).

        Raises:
            InputError: if a row has a resolution that no measured network had.
        """
        if (unknown := ~self._valid_resolution[genes[:, 0]]).any():
            size = self.space.resolutions[genes[unknown.argmax(), 0]]
            raise InputError(
                f"predictor: no network at resolution {size} was measured; "
                f"expected one of {list(self.provenance.resolutions)}"
            )
        chunks = [genes[i : i + CHUNK] for i in range(0, len(genes), CHUNK)]
        return np.concatenate([np.empty(0), *map(self._predict, chunks)])

    def slopes(self, genes: GeneMatrix) -> npt.NDArray[np.float32]:
        """See `search.predictors.protocol.Sloped`; exact for a change by one step of one gene."""
        x_ND = self._coding.bits(genes)
        terms_NM = self._similarity(x_ND.astype(np.float32)) * self._dual_M
        with_bit_ND = terms_NM @ self._z_MD.astype(np.float32)
        without_ND = terms_NM.sum(axis=1, keepdims=True) - with_bit_ND
        # Setting a bit moves nearer to the networks that have it, and away from the others.
        step_D = 0.5 * self.kernel.rbf_D
        rise_D, fall_D = np.expm1(step_D), np.expm1(-step_D)
        set_ND = with_bit_ND * rise_D + without_ND * fall_D
        cleared_ND = with_bit_ND * fall_D + without_ND * rise_D
        bits_ND = self._linear_D + np.where(x_ND, -cleared_ND, set_ND)
        slopes_NC = bits_ND.astype(np.float32) @ self._coding.bits_of_choices_DC
        most = int(self.space.n_choices.max())
        slopes: npt.NDArray[np.float32] = slopes_NC.reshape(*genes.shape, most)
        return slopes

    def _similarity(self, x_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """exp(-1/2 squared distance) with half the memory and twice the speed of float64;
        `Kernel.rbf` is the definition. The shipped predictor rounds to 1e-5 points."""
        similarity_NM: npt.NDArray[np.float32] = x_ND @ self._bit_terms_DM
        similarity_NM += self._origin_terms_M
        np.exp(similarity_NM, out=similarity_NM)
        return similarity_NM

    def _predict(self, genes: GeneMatrix) -> Floats:
        x_ND = self._coding.bits(genes).astype(np.float32)
        mean: Floats = (self._similarity(x_ND) @ self._dual_M).astype(np.float64)
        mean += self.mean + x_ND @ self._linear_D
        return mean

    @cached_property
    def _bit_terms_DM(self) -> npt.NDArray[np.float32]:
        """What a bit of 1 adds to -1/2 the squared distance, since x^2 = x for bits."""
        terms: npt.NDArray[np.float32] = (self.kernel.rbf_D * (self._z_MD - 0.5)).T.astype(
            np.float32, order="C"
        )
        return terms

    @cached_property
    def _origin_terms_M(self) -> npt.NDArray[np.float32]:
        """-1/2 the squared distance from a row of zeros."""
        return (-0.5 * self._z_MD @ self.kernel.rbf_D).astype(np.float32)

    @cached_property
    def _dual_M(self) -> npt.NDArray[np.float32]:
        return (self.kernel.rbf_variance * self.dual_M).astype(np.float32)

    @cached_property
    def _coding(self) -> Coding:
        return Coding(self.trained, self.space)

    @cached_property
    def _z_MD(self) -> Floats:
        return Coding(self.trained, self.trained)(self.genes_MG)

    @cached_property
    def _linear_D(self) -> Floats:
        """The linear part of the posterior mean, folded into one weight per bit."""
        weights: Floats = self.kernel.linear_D * (self.dual_M @ self._z_MD)
        return weights

    @cached_property
    def _valid_resolution(self) -> npt.NDArray[np.bool_]:
        return np.isin(self.space.resolutions, self.provenance.resolutions)

    def rescaled(self, scale: float, offset: float, provenance: Provenance) -> GaussianProcess:
        """One that predicts `scale` times what this one does, plus `offset` points."""
        return replace(
            self,
            provenance=provenance,
            dual_M=scale * self.dual_M,
            mean=scale * self.mean + offset,
        )

    def save(self, path: Path) -> None:
        """Write it as safetensors; `load_predictor` reads it back exactly."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "genes": self.genes_MG,
            "dual": self.dual_M,
            "linear": self.kernel.linear_D,
            "rbf": self.kernel.rbf_D,
            "scalars": np.array([self.mean, self.kernel.rbf_variance]),
        }
        save_predictor(path, self.provenance, self.trained, tensors)

    @classmethod
    def from_tensors(
        cls,
        provenance: Provenance,
        metadata: Mapping[str, Any],
        tensors: Tensors,
        space: SearchSpace,
    ) -> GaussianProcess:
        """The inverse of `save`, for gene matrices of `space`.

        Raises:
            InputError: if `space` is not the fitted space or a part of it.
            CorruptBundle: if a tensor is missing or has an impossible shape.
        """
        try:
            trained = read_space(metadata["space"])
            mean, rbf_variance = tensors["scalars"].tolist()
            kernel = Kernel(tensors["linear"], tensors["rbf"], rbf_variance)
            genes, dual = tensors["genes"], tensors["dual"]
        except (KeyError, ValueError) as error:
            raise CorruptBundle(f"predictor: {error} is missing or wrong") from error
        bits = len(Coding(trained, trained).groups)
        expected = {"linear": (bits,), "rbf": (bits,), "genes": (len(dual), len(trained.genes))}
        for name, shape in expected.items():
            if tensors[name].shape != shape:
                raise CorruptBundle(
                    f"predictor: expected {name} of shape {shape}, got {tensors[name].shape}"
                )
        Coding(trained, space)  # refuses a foreign space now, not at the first prediction
        return cls(provenance, trained, space, genes, dual, mean, kernel)

"""The published accuracy predictors: small networks over one-hot genes.

Once-for-All's predictor has three hidden layers of 400 (arXiv 1908.09791, section 3.5). Two
codings of its input were published: for MobileNetV3 the kernels, the expansions, then the
resolution in steps of 16 from 112; for ResNet-50 the resolution, the stem's depth, the widths,
then the expansions. A block that is not active is all zeros. Outputs are fractions of 1.

Shapes: N networks, G genes, D inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import CorruptBundle, InputError, show_value
from models.spaces import Gene, GeneMatrix, SearchSpace, read_space
from search.costs import Floats
from search.predictors.files import Tensors, save_predictor
from search.predictors.protocol import Provenance

KIND = "mlp"
POOL_TENSOR = "elites"
"""Name of the warm-start pool in files."""
CHUNK = 1024
"""Rows predicted at a time: two CHUNK x H stay in a core's cache."""
KINK = 2.0
"""Slope at 0 of a unit's activity (0 to 1) by its input in standard deviations of its layer."""
VANISHED = 1e-12
"""A hidden unit is dropped if its largest weight in times its largest weight out is smaller."""
MOBILE_SLOTS = tuple(range(112, 225, 16))
"""Resolutions that have an input in the MobileNetV3 coding, pixels."""
MOBILE_VALID = (160, 176, 192, 208, 224)
"""Of them, those it was fitted on: at 128 it rates the smallest network above the one at 160."""
RESNET_VALID = (128, 144, 160, 176, 192, 224, 240, 256)
TARGET = (
    "top-1 on 10,000 training images of ImageNet held out, as published: about 5 points above "
    "the validation set"
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One affine map, (in, out) and (out,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


class OneHot:
    """Genes of `space` as the inputs of a published predictor.

    Raises:
        InputError: if `space` has a choice that the coding lacks.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        offsets, self.size = {}, 0
        for gene in _order(space):
            offsets[gene.name, gene.stage, gene.block] = (self.size, gene.choices)
            self.size += len(gene.choices)
        n_choices = int(space.n_choices.max())
        self._columns = np.arange(len(space.genes))
        self.inputs = np.full((len(space.genes), n_choices), self.size, np.intp)
        """Input of each choice of each gene, (G, K); D where it has none."""
        for column, own in enumerate(space.genes):
            if (offset := offsets.get((own.name, own.stage, own.block))) is None:
                continue  # a depth shows in which blocks are active
            start, choices = offset
            for index, value in enumerate(own.choices):
                if value not in choices:
                    raise InputError(
                        f"predictor: expected {own.name} among {list(choices)}, got {value:g} "
                        f"in space {space.name!r}"
                    )
                self.inputs[column, index] = start + choices.index(value)

    def __call__(self, genes: GeneMatrix) -> npt.NDArray[np.float32]:
        """(N, D) of 0 and 1."""
        x_ND = np.zeros((len(genes), self.size + 1), np.float32)
        starts_N1 = np.arange(0, x_ND.size, self.size + 1)[:, None]
        inputs_NG = np.where(self.space.active(genes), self.inputs[self._columns, genes], self.size)
        x_ND.ravel()[inputs_NG + starts_N1] = 1.0
        return x_ND[:, :-1]


def _order(space: SearchSpace) -> list[Gene]:
    """The genes in the order of the inputs."""

    def named(name: str) -> list[Gene]:
        return [gene for gene in space.genes if gene.name == name]

    if space.family == "resnet":
        sizes = Gene("resolution", -1, -1, RESNET_VALID)
        stem = Gene("depth", 0, -1, (0, 1))
        return [sizes, stem, *sorted(named("width"), key=lambda g: g.stage), *named("expand")]
    if space.family != "mobile":
        raise InputError(f"predictor: none was published for the family {space.family!r}")
    return [*named("kernel"), *named("expand"), Gene("resolution", -1, -1, MOBILE_SLOTS)]


@dataclass(frozen=True, eq=False)
class Mlp:
    """A published predictor, answering for gene matrices of `space`."""

    provenance: Provenance
    space: SearchSpace
    layers: Sequence[Layer]
    """Three hidden ones and the output."""
    base: float
    """Added to the output, a fraction of 1."""
    warm_start_pool: GeneMatrix
    """See `search.predictors.protocol.Explored`."""

    def predict(self, genes: GeneMatrix) -> Floats:
        """Top-1 accuracy in percent of each row of a canonical gene matrix, (N,).

        Raises:
            InputError: if a row has a resolution that the predictor was not fitted on.
        """
        sizes = np.array(self.space.resolutions)
        if (unknown := ~np.isin(sizes, self.provenance.resolutions)[genes[:, 0]]).any():
            raise InputError(
                f"predictor: not valid at resolution {sizes[genes[unknown.argmax(), 0]]}; "
                f"expected one of {list(self.provenance.resolutions)}"
            )
        chunks = [genes[i : i + CHUNK] for i in range(0, len(genes), CHUNK)]
        return np.concatenate([np.empty(0), *map(self._predict, chunks)])

    def _predict(self, genes: GeneMatrix) -> Floats:
        y_NH = self._coding(genes)
        *hidden, last = self._live_layers
        for layer in hidden:
            y_NH = y_NH @ layer.weight
            y_NH += layer.bias
            np.maximum(y_NH, 0, out=y_NH)
        fraction_N = (y_NH @ last.weight)[:, 0].astype(np.float64) + last.bias[0] + self.base
        percent: Floats = 100 * fraction_N
        return percent

    def slopes(self, genes: GeneMatrix) -> npt.NDArray[np.float32]:
        """See `search.predictors.protocol.Sloped`: the gradient by the inputs, where a unit
        near its kink counts as partly active, because a change may turn it on or off. The error
        of a single change's gain is 0.05 to 0.08 points, where gains spread by 0.3."""
        *hidden, last = self._live_layers
        y_NH, activities = self._coding(genes), []
        for layer in hidden:
            y_NH = y_NH @ layer.weight + layer.bias
            spread = y_NH.std(axis=1, keepdims=True) + np.finfo(np.float32).tiny
            activities.append(np.clip(0.5 + KINK * y_NH / spread, 0, 1))
            np.maximum(y_NH, 0, out=y_NH)
        slope_NH = np.broadcast_to(100 * last.weight[:, 0], y_NH.shape)
        for layer, activity in zip(reversed(hidden), reversed(activities), strict=True):
            slope_NH = (slope_NH * activity) @ layer.weight.T
        none_N1 = np.zeros((len(genes), 1), np.float32)
        slopes: npt.NDArray[np.float32] = np.hstack([slope_NH, none_N1])[:, self._coding.inputs]
        return slopes

    @cached_property
    def _live_layers(self) -> Sequence[Layer]:
        """The layers without hidden units whose weights vanish. Weight decay left most of the
        published ResNet predictor at 1e-41, subnormal numbers, which processors multiply a
        hundred times more slowly."""
        layers = list(self.layers)
        for i in range(len(layers) - 1):
            into, out = layers[i], layers[i + 1]
            largest_in_H = np.abs(np.vstack([into.weight, into.bias])).max(axis=0)
            live_H = largest_in_H * np.abs(out.weight).max(axis=1) > VANISHED
            layers[i] = Layer(into.weight[:, live_H], into.bias[live_H])
            layers[i + 1] = Layer(out.weight[live_H], out.bias)
        return [Layer(_normal(layer.weight), _normal(layer.bias)) for layer in layers]

    @cached_property
    def _coding(self) -> OneHot:
        return OneHot(self.space)

    def rescaled(self, scale: float, offset: float, provenance: Provenance) -> Mlp:
        """One that predicts `scale` times what this one does, plus `offset` points."""
        *hidden, last = self.layers
        scaled = Layer(np.float32(scale) * last.weight, np.float32(scale) * last.bias)
        return replace(
            self,
            provenance=provenance,
            layers=[*hidden, scaled],
            base=scale * self.base + offset / 100,
        )

    def save(self, path: Path) -> None:
        """Write it as safetensors; `load_predictor` reads it back exactly."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "base": np.array([self.base]),
            POOL_TENSOR: self.warm_start_pool,
        }
        for i, layer in enumerate(self.layers):
            tensors |= {f"weight.{i}": layer.weight, f"bias.{i}": layer.bias}
        save_predictor(path, self.provenance, self.space, tensors)

    @classmethod
    def from_tensors(
        cls,
        provenance: Provenance,
        metadata: Mapping[str, Any],
        tensors: Tensors,
        space: SearchSpace,
    ) -> Mlp:
        """The inverse of `save`, answering for `space`, the same or a part of it.

        Raises:
            InputError: if `space` has choices that the predictor does not know.
            CorruptBundle: if a tensor is missing or has an impossible shape.
        """
        try:
            count = sum(name.startswith("weight.") for name in tensors)
            layers = [Layer(tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(count)]
            trained = read_space(metadata["space"])
            base = float(tensors["base"][0])
        except (KeyError, IndexError, ValueError) as error:
            raise CorruptBundle(f"predictor: {error} is missing or wrong") from error
        if problem := _misfit(layers, OneHot(trained).size):
            raise CorruptBundle(f"predictor: {problem}")
        if OneHot(space).size != OneHot(trained).size:
            raise InputError(
                f"predictor: made for space {trained.name!r}, which has other blocks than "
                f"{space.name!r}"
            )
        pool = _translate(tensors.get(POOL_TENSOR, trained.encode([])), trained, space)
        return cls(provenance, space, layers, base, pool)


def read_published_mlp(
    tensors: Mapping[str, npt.NDArray[np.float32]], space: SearchSpace, source: str
) -> Mlp:
    """A published predictor file's tensors as a predictor of `space`.

    Args:
        source: where the file is from, for the provenance.

    Raises:
        InputError: if the tensors are not such a predictor, or it is not one of this space.
    """
    resnet = space.family == "resnet"
    valid = RESNET_VALID if resnet else MOBILE_VALID
    part = space.at(valid)
    names = (
        ["layers.0.0", "layers.1.0", "layers.2.0", "layers.3"]
        if "base_acc" in tensors
        else ["0", "2", "4", "6"]
    )
    expected = {f"{name}.weight" for name in names} | {f"{name}.bias" for name in names[:3]}
    expected.add("base_acc" if "base_acc" in tensors else "6.bias")
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)
        raise InputError(
            f"predictor: expected tensors {sorted(expected)}, got {len(tensors)} of which "
            f"missing or unknown: {', '.join(map(show_value, odd[:5]))}"
        )
    zero = np.zeros(1, np.float32)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise InputError(f"predictor {name}: expected finite values, got NaN or infinity")
    if (base_acc := tensors.get("base_acc", zero)).shape != (1,):
        raise InputError(f"predictor base_acc: expected shape (1,), got {base_acc.shape}")
    layers = [
        Layer(np.ascontiguousarray(tensors[f"{name}.weight"].T), tensors.get(f"{name}.bias", zero))
        for name in names
    ]
    if problem := _misfit(layers, OneHot(part).size):
        raise InputError(f"predictor: not one for space {space.name!r}: {problem}")
    provenance = Provenance(
        kind=KIND,
        space=space.name,
        resolutions=part.resolutions,
        target=TARGET,
        count=None,
        rmse=None,
        spearman=None,
        kendall=None,
        method=f"published weights ({source}); their error was not measured here",
    )
    base = float(base_acc[0])
    return Mlp(provenance, part, layers, base, warm_start_pool=part.encode([]))


def _translate(rows: npt.NDArray[Any], trained: SearchSpace, space: SearchSpace) -> GeneMatrix:
    """Rows of `trained` as rows of `space`, a part of it: the networks that it has, (N, G).

    Raises:
        CorruptBundle: if `rows` are not networks of `trained`.
    """
    fits = rows.shape[1:] == (len(trained.genes),) and rows.dtype == np.uint8
    if not fits or (rows >= trained.n_choices).any():
        raise CorruptBundle(f"predictor: elites are not networks of space {trained.name!r}")
    translated = np.zeros((len(rows), len(space.genes)), np.uint8)
    exists = np.ones(len(rows), bool)
    active = trained.active(rows)
    for column, gene in enumerate(space.genes):
        source = trained.column[gene.name, gene.stage, gene.block]
        same = np.array(trained.genes[source].choices)[:, None] == np.array(gene.choices)
        translated[:, column] = same.argmax(axis=1)[rows[:, source]]
        exists &= same.any(axis=1)[rows[:, source]] | ~active[:, source]
    return space.canonical(translated[exists])


def _normal(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """0 in place of subnormal numbers."""
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)


def _misfit(layers: Sequence[Layer], inputs: int) -> str:
    """What is wrong with the shapes of `layers`; empty if nothing."""
    size = inputs
    for number, layer in enumerate(layers):
        weight, bias = layer.weight.shape, layer.bias.shape
        if len(weight) != 2 or weight[0] != size or bias != weight[1:]:
            return (
                f"layer {number}: expected {size} inputs and as many biases as outputs, "
                f"got weight {weight[::-1]}, bias {bias}"
            )
        size = weight[1]
    return "" if layers and size == 1 else f"expected one output, got {size}"

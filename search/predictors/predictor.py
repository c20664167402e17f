"""What the search asks of an accuracy predictor, and reading one of any kind from a file.

A predictor file is safetensors; its metadata says what kind of predictor it holds and where
its numbers come from (`Provenance`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.errors import CorruptBundle, NotFound
from models.spaces import GeneMatrix, SearchSpace
from search.costs import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a predictor comes from and how far it can be trusted."""

    kind: str
    """What reads the file: a key of the table in `load`."""
    space: str
    resolutions: tuple[int, ...]
    """Input sizes, pixels, that it was fitted on; it answers for no other."""
    target: str
    """What it predicts: the data, the number of images, the weights."""
    count: int | None
    """Measured networks it was fitted on; None: not known."""
    rmse: float | None
    """Expected error, percentage points: root mean square; None: not known."""
    spearman: float | None
    kendall: float | None
    method: str
    """How the three figures above were obtained."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of `Provenance(**value)` up to the list of resolutions."""
        return asdict(self)


class AccuracyPredictor(Protocol):
    """Predicts the accuracy of every network of one space."""

    @property
    def provenance(self) -> Provenance:
        """Where it comes from, for cards, answers and the page."""
        ...

    def predict(self, genes: GeneMatrix) -> Floats:
        """Top-1 accuracy in percent of each row of a canonical gene matrix, (N,).

        Raises:
            InputError: if a row has a resolution outside `provenance.resolutions`.
        """
        ...


@runtime_checkable
class Sloped(Protocol):
    """A predictor that also says which way is up."""

    def slopes(self, genes: GeneMatrix) -> npt.NDArray[np.float32]:
        """About how much each choice of each gene adds to the accuracy near each row, percentage
        points, (N, G, K); only differences within a gene mean anything, or to 0 for a gene that
        is not active. K is the most choices that a gene has."""
        ...


@runtime_checkable
class Explored(Protocol):
    """A predictor that was searched before, for no device in particular
    (`search.evolution.warm_start_pool`).
    """

    @property
    def elites(self) -> GeneMatrix:
        """Networks found then, (E, G), canonical; none is allowed."""
        ...


def elites_of(predictor: AccuracyPredictor, space: SearchSpace) -> GeneMatrix:
    """Its elites, (E, G); none if it was not explored."""
    return predictor.elites if isinstance(predictor, Explored) else space.encode([])


def predictor_provenance(path: Path) -> Provenance:
    """Where the predictor in a file comes from, and for which resolutions it is valid.

    Raises:
        NotFound: if there is no such file.
        CorruptBundle: if the file is not a predictor.
    """
    return _open(path)[0]


def _open(path: Path) -> tuple[Provenance, dict[str, Any], dict[str, npt.NDArray[Any]]]:
    if not path.is_file():
        raise NotFound(f"predictor {str(path)!r}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = {key: json.loads(text) for key, text in file.metadata().items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return read_provenance(metadata["provenance"]), metadata, tensors
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptBundle(f"predictor {str(path)!r}: not a predictor file ({error})") from error


def load_predictor(path: Path, space: SearchSpace) -> AccuracyPredictor:
    """Read a predictor of any kind, to answer for gene matrices of `space`.

    Args:
        space: the space it was fitted on, or a part of it (fewer choices).

    Raises:
        NotFound: if there is no such file, or its kind is unknown.
        InputError: if it was fitted on another space.
        CorruptBundle: if the file is not a predictor.
    """
    from search.predictors import gaussian_process, mlp

    readers: dict[str, Callable[..., AccuracyPredictor]] = {
        gaussian_process.KIND: gaussian_process.GaussianProcess.from_tensors,
        mlp.KIND: mlp.Mlp.from_tensors,
    }
    provenance, metadata, tensors = _open(path)
    if provenance.kind not in readers:
        raise NotFound.named("kind of predictor", provenance.kind, readers)
    return readers[provenance.kind](provenance, metadata, tensors, space)


def save_predictor(
    path: Path,
    provenance: Provenance,
    space: SearchSpace,
    tensors: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Write a predictor of any kind; `load` reads it back exactly."""
    metadata = {"provenance": provenance.to_json(), "space": space.to_json()}
    save_file(dict(tensors), path, {key: json.dumps(value) for key, value in metadata.items()})


def carry_over(rows: npt.NDArray[Any], trained: SearchSpace, space: SearchSpace) -> GeneMatrix:
    """Networks of `trained` as rows of `space`, a part of it: those that it has, (N, G), canonical.

    Raises:
        CorruptBundle: if `rows` are not networks of `trained`.
    """
    fits = rows.shape[1:] == (len(trained.genes),) and rows.dtype == np.uint8
    if not fits or (rows >= trained.n_choices).any():
        raise CorruptBundle(f"predictor: elites are not networks of space {trained.name!r}")
    carried = np.zeros((len(rows), len(space.genes)), np.uint8)
    there = np.ones(len(rows), bool)
    active = trained.active(rows)
    for column, gene in enumerate(space.genes):
        before = trained.column[gene.name, gene.stage, gene.block]
        same = np.array(trained.genes[before].choices)[:, None] == np.array(gene.choices)
        carried[:, column] = same.argmax(axis=1)[rows[:, before]]
        there &= same.any(axis=1)[rows[:, before]] | ~active[:, before]
    return space.canonical(carried[there])


def read_provenance(value: dict[str, Any]) -> Provenance:
    """The inverse of `Provenance.to_json`."""
    return Provenance(**{**value, "resolutions": tuple(value["resolutions"])})

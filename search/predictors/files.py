"""Predictor files: safetensors whose metadata has the `Provenance` and the space fitted on.

The provenance's `kind` selects the reader. `register_predictor` adds a kind from outside.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from models.errors import CorruptBundle, NotFound
from models.registry import Registry
from models.spaces import SearchSpace
from search.predictors.protocol import AccuracyPredictor, Provenance

Tensors = Mapping[str, npt.NDArray[Any]]


class Reader(Protocol):
    """Makes a predictor of one kind from what is in its file."""

    def __call__(
        self,
        provenance: Provenance,
        metadata: Mapping[str, Any],
        tensors: Tensors,
        space: SearchSpace,
        /,
    ) -> AccuracyPredictor:
        """The predictor, for gene matrices of `space`.

        Args:
            metadata: "space" is the JSON of the space that it was fitted on.
            space: that space or a part of it (fewer choices).

        Raises:
            InputError: if it was fitted on another space.
            CorruptBundle: if a tensor is missing or has an impossible shape.
        """
        ...


_READERS: Registry[Reader | str] = Registry(
    "kind of predictor",
    {
        "gaussian-process": f"{__package__}.gaussian_process:GaussianProcess.from_tensors",
        "mlp": f"{__package__}.mlp:Mlp.from_tensors",
    },
)
"""By kind. The built-in ones are named, since their modules import this one."""


def register_predictor(kind: str, reader: Reader) -> None:
    """Have `load_predictor` read files of this kind, in this process.

    Raises:
        InputError: if another reader has this kind.
    """
    _READERS.register(kind, reader)


def unregister_predictor(kind: str) -> None:
    """Remove a kind of predictor; there may be none of that name."""
    _READERS.unregister(kind)


def predictor_provenance(path: Path) -> Provenance:
    """Where the predictor in a file comes from, and at which resolutions it is valid.

    Raises:
        NotFound: if there is no such file.
        CorruptBundle: if the file is not a predictor.
    """
    return _read(path)[0]


def load_predictor(path: Path, space: SearchSpace) -> AccuracyPredictor:
    """Read a predictor of any registered kind, for gene matrices of `space`.

    Args:
        space: the space it was fitted on, or a part of it (fewer choices).

    Raises:
        NotFound: if there is no such file, or its kind is unknown.
        InputError: if it was fitted on another space.
        CorruptBundle: if the file is not a predictor.
    """
    provenance, metadata, tensors = _read(path)
    reader = _READERS[provenance.kind]
    if isinstance(reader, str):
        reader = pkgutil.resolve_name(reader)
    return reader(provenance, metadata, tensors, space)


def save_predictor(
    path: Path, provenance: Provenance, space: SearchSpace, tensors: Tensors
) -> None:
    """Write a predictor fitted on `space`; `load_predictor` reads it back exactly."""
    metadata = {"provenance": provenance.to_json(), "space": space.to_json()}
    save_file(dict(tensors), path, {key: json.dumps(value) for key, value in metadata.items()})


def _read(path: Path) -> tuple[Provenance, dict[str, Any], Tensors]:
    if not path.is_file():
        raise NotFound(f"predictor {str(path)!r}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = {key: json.loads(text) for key, text in file.metadata().items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return Provenance.from_json(metadata["provenance"]), metadata, tensors
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptBundle(f"predictor {str(path)!r}: not a predictor file ({error})") from error

"""Read a folder that comes back: weights and two JSON files, checked; no program of it is run."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from models.data import CROP_SHARE, Fit, PhotoFit
from models.errors import InputError, InvalidDocument, NotFound, show_value
from models.layers import COUNTER, tensor_shapes
from models.schema import STRICT, Text, read_json, read_member, validate
from models.spaces import Arch, SearchSpace, layer_plan, read_space
from models.torch_folder.contents import (
    ARCHITECTURE,
    ARCHITECTURE_SHA256,
    FORMAT,
    PREPROCESSING,
    WEIGHTS,
    TorchNetwork,
    architecture_sha256,
)

MAX_WEIGHTS_BYTES = 2**31
"""An ONNX file holds no more."""
MAX_HEADER_BYTES = 2**22
"""Of a safetensors file: some hundred names and shapes."""
MAX_JSON_BYTES = 2**24
SHOWN = 3
"""Tensors of one kind of fault that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preprocessing:
    """preprocessing.json."""

    __pydantic_config__ = STRICT

    channels: int
    resolution: int
    interpolation: Literal["bilinear"]
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Interval(gt=0)], ...]
    fit: Fit = "squeeze"
    crop_share: Annotated[float, Interval(ge=CROP_SHARE, le=CROP_SHARE)] | None = None
    sizes: tuple[Annotated[int, Interval(ge=1)], ...] | None = None
    class_names: tuple[Text, ...] | None = None

    @property
    def photo_fit(self) -> PhotoFit:
        """Folders of earlier versions do not state it: photos were squeezed at once."""
        sizes = self.sizes or (self.resolution,)
        stored = sizes[0] if len(sizes) > 1 else None
        return PhotoFit(is_cropped=self.fit == "center_crop", stored_size=stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Architecture:
    """architecture.json."""

    __pydantic_config__ = STRICT

    format: Literal[1]
    supernet: Text
    supernet_sha256: str
    sha256: str
    arch: dict[str, Any]
    features: list[dict[str, Any]]
    recalibrated: bool
    licence: str
    about: dict[str, Any]
    space: dict[str, Any]


assert _Architecture.__annotations__["format"] == f"Literal[{FORMAT}]"


def read_folder(folder: Path) -> TorchNetwork:
    """The network of a torch folder, fine-tuned or as it was written.

    Raises:
        NotFound: if there is no such folder, or a file of it is missing.
        InputError: naming the file, and what of it is not as `architecture.json` says.
    """
    if not folder.is_dir():
        raise NotFound(
            f"{folder}: expected a folder that `subnet-search export --format torch` has written"
        )
    for name in (ARCHITECTURE, PREPROCESSING):
        _check_file(folder / name, MAX_JSON_BYTES)
    document = read_json(folder / ARCHITECTURE)
    stated, space, arch = document.read(_read_architecture)
    weights = _read_weights(folder / WEIGHTS, architecture_sha256(space, arch))
    plan = layer_plan(space, arch)
    classes = _classes(weights, f"{plan[-1].name}.bias", space)
    space = replace(space, classes=classes)
    prepared = read_json(folder / PREPROCESSING).read(_read_preprocessing, space, arch)
    tensors = _matched(weights, tensor_shapes(layer_plan(space, arch)))
    return TorchNetwork(
        space=space,
        arch=arch,
        tensors=tensors,
        supernet=stated.supernet,
        supernet_sha256=stated.supernet_sha256,
        mean=prepared.mean,
        std=prepared.std,
        photo_fit=prepared.photo_fit,
        class_names=prepared.class_names,
        has_features=bool(stated.features),
        recalibrated=stated.recalibrated,
        licence=stated.licence,
    )


def read_tensors(content: bytes, space: SearchSpace, arch: Arch) -> dict[str, Tensor]:
    """The tensors of a weights' file of a known network.

    Raises:
        InputError: as `read_folder`.
    """
    weights = _load(content, Path(WEIGHTS), architecture_sha256(space, arch))
    return _matched(weights, tensor_shapes(layer_plan(space, arch)))


def _check_file(path: Path, most: int) -> None:
    """Check that a file is one of its folder, and not too large, before it is read."""
    try:
        status = path.lstat()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: expected a file, found none") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "what is none"
        raise InputError(f"{path}: expected a file in the folder itself, got {kind}")
    if status.st_size > most:
        raise InputError(f"{path}: expected at most {most} bytes, got {status.st_size}")


def _read_architecture(value: object) -> tuple[_Architecture, SearchSpace, Arch]:
    stated = validate(_Architecture, value, "architecture")
    assert isinstance(value, Mapping)
    space = read_member(value, "space", read_space, "architecture")
    arch = read_member(value, "arch", space.read_arch, "architecture")
    if stated.sha256 != architecture_sha256(space, arch):
        text = (
            "does not belong to this space and architecture, which were changed after the folder "
            "was written: export the network that is meant"
        )
        raise InvalidDocument.at("architecture", ("sha256",), text)
    return stated, space, arch


def _read_preprocessing(value: object, space: SearchSpace, arch: Arch) -> _Preprocessing:
    found = validate(_Preprocessing, value, "preprocessing")

    def refuse(name: str, text: str) -> None:
        raise InvalidDocument.at("preprocessing", (name,), text)

    for name, expected in (("channels", space.channels), ("resolution", arch.resolution)):
        if (given := getattr(found, name)) != expected:
            refuse(name, f"expected {expected} as in {ARCHITECTURE}, got {given}")
    sizes = found.sizes or (arch.resolution,)
    if len(sizes) > 2 or sizes[-1] != arch.resolution:
        refuse("sizes", f"expected one or two sizes, the last {arch.resolution}, got {sizes}")
    for name in ("mean", "std"):
        if (count := len(getattr(found, name))) != space.channels:
            refuse(name, f"expected {space.channels} numbers, one a channel, got {count}")
    names = found.class_names
    if names is not None and len(names) != space.classes:
        refuse(
            "class_names",
            f"expected {space.classes} names, one for each output of the head in {WEIGHTS}, got "
            f"{len(names)}",
        )
    if names is not None and len(set(names)) != len(names):
        refuse("class_names", "expected names that differ")
    return found


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    _check_file(path, MAX_WEIGHTS_BYTES)
    return _load(path.read_bytes(), path, sha256)


def _load(content: bytes, path: Path, sha256: str) -> dict[str, Tensor]:
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER_BYTES and content[8:9] == b"{":
        raise InputError(
            f"{path}: expected a header of at most {MAX_HEADER_BYTES} bytes, got {length}"
        )
    try:
        tensors = load(content)
        stated = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: expected a whole safetensors file ({str(error)[:100]}); a torch file (.pt, "
            ".pth) is not read here: save its state_dict with safetensors.torch.save_file"
        ) from error
    if stated.get(ARCHITECTURE_SHA256, sha256) != sha256:
        raise InputError(
            f"{path}: the weights say that they are of another architecture than {ARCHITECTURE}: "
            "bring the files of one export together"
        )
    return tensors


def _classes(weights: Mapping[str, Tensor], name: str, space: SearchSpace) -> int:
    """Outputs of the head, told from its bias; the space's where there is none, which is found
    later to be missing."""
    bias = weights.get(name)
    return len(bias) if bias is not None and bias.ndim == 1 and len(bias) else space.classes


def _matched(
    weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """The tensors that the network needs.

    Raises:
        InputError: naming those that are missing, unknown or not usable.
    """
    faults: dict[str, list[str]] = {"missing": [], "not usable": [], "unknown": []}
    found = {}
    for name, shape in shapes.items():
        if (tensor := weights.get(name)) is None:
            faults["missing"].append(f"{name} {_shown(shape)}")
        elif fault := _fault(name, tensor, shape):
            faults["not usable"].append(f"{name}: {fault}")
        else:
            found[name] = tensor
    norms = {name.rpartition(".")[0] for name in shapes if name.endswith("running_mean")}
    counters = {f"{norm}.{COUNTER}" for norm in norms}
    faults["unknown"] += [
        show_value(name) for name in weights if name not in shapes.keys() | counters
    ]
    told = [
        f"{len(items)} {kind}: {', '.join(items[:SHOWN])}{', ...' if len(items) > SHOWN else ''}"
        for kind, items in faults.items()
        if items
    ]
    if told:
        raise InputError(
            f"{WEIGHTS}: expected the {len(shapes)} tensors of the network in {ARCHITECTURE}: "
            f"{'; '.join(told)}"
        )
    return found


def _fault(name: str, tensor: Tensor, shape: tuple[int, ...]) -> str | None:
    if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape:
        return (
            f"expected {_shown(shape)} torch.float32, got {_shown(tuple(tensor.shape))} "
            f"{tensor.dtype}"
        )
    if not bool(torch.isfinite(tensor).all()):
        return "expected finite values, got NaN or infinity"
    if name.endswith("running_var") and bool((tensor < 0).any()):
        return "expected variances of 0 or more, got a negative one"
    return None


def _shown(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"

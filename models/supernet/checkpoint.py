"""Checkpoints in the published formats: an explicit two-way map of tensor names.

The published files exist in two namings. "released" is that of the first release (v0.1) and of
the hosted MobileNetV3 and ProxylessNAS weights; "newer" is that of the later code and of the
hosted ResNet-50 weights. They differ in one component (`.mobile_inverted_conv.`, `.conv.`).
Source: mit-han-lab/once-for-all, f03b267 and tag v0.1.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.errors import InputError, NotFound, show_value
from models.layers import COUNTER, kind_of
from models.spaces import SearchSpace, layer_plan
from models.supernet.supernet import Supernet

KeyFormat = Literal["released", "newer"]
FORMATS: tuple[KeyFormat, ...] = ("released", "newer")
MAX_INFLATION = 20
"""Times the size of a file that its content may have: pickles of many short names compress well."""
_BLOCK = {"released": "mobile_inverted_conv", "newer": "conv"}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch or safetensors file by their names in the file, loaded without running
    code from it.

    Raises:
        NotFound: if there is no such file.
        InputError: if it is damaged, holds anything but tensors, or would need code to load.
    """
    if not path.is_file():
        raise NotFound(f"checkpoint {str(path)!r}: no such file")
    _check_size(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own words advise to load it with code.
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        found = f"code ({code[1][:100]})" if code else "what is none, or is damaged"
        raise InputError(
            f"checkpoint {path.name}: refused, expected a torch file of tensors alone, got {found}"
            "; save its state_dict alone with torch.save"
        ) from error
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint {path.name}: expected a whole torch or safetensors file, got one that "
            f"cannot be read ({reason}); download it again"
        ) from error
    return _dense_tensors(content, path)


def _dense_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, or of one inside it, each with all its values in the file."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f"checkpoint {path.name}: expected a state dict or {{'state_dict': ...}}, "
            f"got {type(content).__name__}"
        )
    largest = MAX_INFLATION * path.stat().st_size
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"checkpoint {path.name}: expected tensors by name, got "
                f"{type(value).__name__} at {show_value(name)}"
            )
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            kind = "a quantized one" if value.is_quantized else f"{value.layout} on {value.device}"
            raise InputError(
                f"checkpoint {path.name}: {show_value(name)}: expected a dense tensor with its "
                f"values, got {kind}"
            )
        if value.numel() * value.itemsize > largest:  # all of one value, which is stored once
            raise InputError(
                f"checkpoint {path.name}: {show_value(name)}: expected a tensor with its values, "
                f"got {_shape(tuple(value.shape))} in a file of {path.stat().st_size} bytes"
            )
    return {name: value.detach() for name, value in content.items()}


def _check_size(path: Path) -> None:
    """Torch writes its archives uncompressed; one that is not could unpack to any size."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"checkpoint {path.name}: expected a whole torch file, got a damaged archive "
            f"({error}); download it again"
        ) from error
    if unpacked > MAX_INFLATION * path.stat().st_size:
        raise InputError(
            f"checkpoint {path.name}: expected a torch file as torch writes it, got one that would "
            f"unpack to {unpacked} bytes from {path.stat().st_size}: write it anew with torch.save"
        )


def key_map(space: SearchSpace, format: KeyFormat) -> dict[str, str]:
    """Published name of each tensor of `space`'s supernet, by our name, in published order.

    Our names are those of `Supernet.state_dict()`, and the norms' counters.
    """
    modules = space.published_modules(block_name_of(format))
    return {
        f"layers.{spec.name}.{ours}": theirs
        for spec in layer_plan(space, space.largest)
        if spec.name in modules
        for ours, theirs in kind_of(spec).published_names(spec, modules[spec.name])
    }


def block_name_of(format: KeyFormat) -> str:
    """What the inner module of an inverted bottleneck is called."""
    return _BLOCK[format]


def detect_format(tensors: Mapping[str, Tensor]) -> KeyFormat:
    """Which naming a checkpoint has; ResNets were published in the newer one only."""
    released = any(f".{_BLOCK['released']}." in name for name in tensors)
    return "released" if released else "newer"


def from_published(space: SearchSpace, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published checkpoint under our names; every tensor must be there in its shape.

    Raises:
        InputError: naming the missing, unknown, misshapen or unusable tensors.
    """
    with torch.device("meta"):  # shapes only: nothing is allocated or initialized
        supernet = Supernet(space)
    shapes = {name: tuple(tensor.shape) for name, tensor in supernet.state_dict().items()}
    return matched_tensors(space, key_map(space, detect_format(tensors)), shapes, tensors)


def matched_tensors(
    space: SearchSpace,
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Copies of a checkpoint's tensors under our names.

    Args:
        space: named in messages.
        names: the checkpoint's name of every tensor that it must have, by ours.
        shapes: of each, by our name; counters are scalars.

    Raises:
        InputError: naming the missing, unknown, misshapen or unusable tensors.
    """
    problems = []
    for ours, theirs in names.items():
        counter = ours.endswith(COUNTER)
        expected, dtype = shapes.get(ours, ()), torch.int64 if counter else torch.float32
        found = tensors.get(theirs)
        if found is None:
            problems.append(f"{theirs} is missing, expected {_shape(expected)} {dtype}")
        elif tuple(found.shape) != expected or found.dtype != dtype:
            problems.append(
                f"{theirs}: expected {_shape(expected)} {dtype}, "
                f"got {_shape(tuple(found.shape))} {found.dtype}"
            )
        elif not counter and not bool(torch.isfinite(found).all()):
            problems.append(f"{theirs}: expected finite values, got NaN or infinity")
    known = set(names.values())
    problems += [
        f"{show_value(name)} is unknown, got {_shape(tuple(tensor.shape))}, expected no such tensor"
        for name, tensor in tensors.items()
        if name not in known
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(
            f"checkpoint does not fit space {space.name!r}: {'; '.join(problems[:5])}{more}"
        )
    # Copies: tensors of a file may share memory, which a stored bundle must not.
    return {
        ours: tensors[theirs].clone(memory_format=torch.contiguous_format)
        for ours, theirs in names.items()
    }


def to_published(
    space: SearchSpace, tensors: Mapping[str, Tensor], format: KeyFormat
) -> dict[str, Tensor]:
    """The inverse of `from_published`: published names in published order.

    Weights that were trained here have no counters; theirs are 0.
    """
    zero = torch.zeros((), dtype=torch.int64)
    return {
        theirs: tensors.get(ours, zero) if ours.endswith(COUNTER) else tensors[ours]
        for ours, theirs in key_map(space, format).items()
    }


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"

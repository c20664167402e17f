"""Tensors of a checkpoint's file, of whatever is saved around them, without running code from it.

Files hold a state dict alone, or inside of others beside an optimizer's state and numbers of a run;
in one file or in several that an index lists.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.errors import InputError, NotFound, show_value
from models.schema import read_json

Warn = Callable[[str], None]

MAX_INFLATION = 20
"""Times the size of a file that its content may have: pickles of many short names compress well."""
MAX_SHARDS = 1000
WRAPPERS = (
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "params_ema"),
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net"),
    *("module", "weights", "params"),
)
"""What state dicts are saved under. The first that a file has is taken: averaged weights (EMA)
before those that they average, since such a run is judged by them."""
MAX_NESTED = 4


def read_checkpoint(path: Path, warn: Warn = lambda text: None) -> dict[str, Tensor]:
    """The tensors of a torch or safetensors file by their names in the file, loaded without running
    code from it.

    Args:
        path: also an index of several such files beside it (`*.index.json`).
        warn: told what of the file was taken, and what was left.

    Raises:
        NotFound: if there is no such file.
        InputError: if it is damaged, holds no tensors, or would need code to load.
    """
    if path.is_dir():
        raise InputError(
            f"checkpoint {str(path)!r}: expected a file, got a folder: name the file in it, or the "
            "*.index.json of several"
        )
    if not path.is_file():
        raise NotFound(f"checkpoint {str(path)!r}: no such file")
    if path.name.endswith(".json"):
        return _read_shards(path, warn)
    return _state_dict(_load(path), path, warn)


def _read_shards(index: Path, warn: Warn) -> dict[str, Tensor]:
    """The tensors that an index finds in files beside it: `{"weight_map": {NAME: FILE}}`."""
    value = read_json(index).value
    places = value.get("weight_map") if isinstance(value, Mapping) else None
    if not isinstance(places, Mapping) or not places:
        raise InputError(
            f"checkpoint {index.name}: expected a torch or safetensors file, or the index of "
            'several with "weight_map", got other JSON'
        )
    files = sorted({str(file) for file in places.values()})
    if len(files) > MAX_SHARDS or any(Path(file).name != file for file in files):
        text = f"expected at most {MAX_SHARDS} files in the same folder, got {show_value(files)}"
        raise InputError(f"checkpoint {index.name}: weight_map: {text}")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_checkpoint(index.with_name(file), warn)
    if missing := sorted(set(places) - set(tensors)):
        text = f"{missing[0]!r} is not in {places[missing[0]]!r}; download it again"
        raise InputError(f"checkpoint {index.name}: {text}")
    warn(f"{index.name}: {len(tensors)} tensors of {len(files)} files")
    return tensors


def _load(path: Path) -> object:
    """What a file holds."""
    is_stored = _check_size(path)
    try:
        if _is_safetensors(path):
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):
            # Mapped: of an optimizer's state beside the weights nothing is read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_stored)
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


def _is_safetensors(path: Path) -> bool:
    """By its name, or by its first bytes: the length of a JSON object, and the object."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length <= path.stat().st_size - 8


def _check_size(path: Path) -> bool:
    """Torch writes its archives uncompressed; one that is not could unpack to any size.

    Returns:
        Whether it is an archive whose bytes are those of its tensors.
    """
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"checkpoint {path.name}: expected a whole torch file, got a damaged archive "
            f"({error}); download it again"
        ) from error
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_INFLATION * path.stat().st_size:
        raise InputError(
            f"checkpoint {path.name}: expected a torch file as torch writes it, got one that would "
            f"unpack to {unpacked} bytes from {path.stat().st_size}: write it anew with torch.save"
        )
    return all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)


def _state_dict(content: object, path: Path, warn: Warn) -> dict[str, Tensor]:
    """The tensors of a state dict, or of one inside of others, each with all its values in the
    file."""
    place, beside = _place(content) or (), []
    for name in place:
        assert isinstance(content, Mapping)
        beside += [str(other) for other in content if other != name]
        content = content[name]
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f"checkpoint {path.name}: expected a state dict or {{'state_dict': ...}}, "
            f"got {type(content).__name__}"
        )
    if beside:
        taken = ".".join(place)
        warn(f"{path.name}: took the weights in {taken!r}, and ignored {few(beside)} beside them")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    ignored = []
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            _check_dense(name, value, path)
        elif isinstance(name, str) and tensors and "." not in name:
            ignored.append(name)  # of a run: an epoch, an accuracy
        else:
            raise InputError(
                f"checkpoint {path.name}: expected tensors by name, got "
                f"{type(value).__name__} at {show_value(name)}"
            )
    if ignored:
        warn(f"{path.name}: ignored {few(ignored)}, which are no tensors")
    return {name: value.detach() for name, value in tensors.items()}


def _place(content: object, depth: int = 0) -> tuple[str, ...] | None:
    """Names of the entries, one inside the other, that tensors are in; None if there are none."""
    if not isinstance(content, Mapping):
        return None
    for name in WRAPPERS if depth < MAX_NESTED else ():
        if (inner := _place(content.get(name), depth + 1)) is not None:
            return name, *inner
    return () if any(isinstance(value, Tensor) for value in content.values()) else None


def _check_dense(name: str, value: Tensor, path: Path) -> None:
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        kind = "a quantized one" if value.is_quantized else f"{value.layout} on {value.device}"
        raise InputError(
            f"checkpoint {path.name}: {show_value(name)}: expected a dense tensor with its "
            f"values, got {kind}"
        )
    if value.numel() * value.itemsize > MAX_INFLATION * path.stat().st_size:
        raise InputError(  # all of one value, which is stored once
            f"checkpoint {path.name}: {show_value(name)}: expected a tensor with its values, "
            f"got {show_shape(value.shape)} in a file of {path.stat().st_size} bytes"
        )


def show_shape(shape: tuple[int, ...]) -> str:
    """A shape as messages write it: `64x3x3x3`."""
    return "x".join(map(str, shape)) or "scalar"


def few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(show_value(name) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")

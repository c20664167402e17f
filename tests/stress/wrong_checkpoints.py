"""Checkpoints and predictors with one thing wrong: damaged, of other shapes, with code, bombs."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor

from models.layers import COUNTER
from models.supernet.checkpoint import to_published
from models.supernet.supernet import Supernet, initialize
from tests.spaces import DEBUG

if TYPE_CHECKING:
    from tests.stress.wrong_files import Wrong

MARKER = "code-was-run"
"""A file that code inside a checkpoint would make."""
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's format before zip archives

Tensors = dict[str, Any]


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / MARKER)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def good_tensors(kind: str) -> Tensors:
    """A checkpoint's, or a predictor's."""
    if kind == "checkpoint":
        supernet = Supernet(DEBUG)
        initialize(supernet, 0)
        return to_published(DEBUG, supernet.state_dict(), "newer")
    shapes = {"0": (8, 128), "2": (8, 8), "4": (8, 8), "6": (1, 8)}
    weights = {f"{name}.weight": torch.full(shape, 0.01) for name, shape in shapes.items()}
    return {**weights, **{f"{name}.bias": torch.zeros(shapes[name][0]) for name in shapes}}


def _tensor_changes(rng: random.Random) -> list[tuple[str, Callable[[Tensor], Any], bool]]:
    """How, the change of a float32 tensor, and whether the file must then be refused."""
    whole = rng.choice([torch.int64, torch.int8, torch.bool])
    other = rng.choice([torch.float64, torch.float16, torch.bfloat16])
    return [
        ("another shape", lambda t: torch.zeros((*t.shape, 2)), True),
        ("no values", lambda t: torch.zeros((0, *t.shape[1:])), True),
        ("a scalar", lambda t: torch.tensor(1.0), True),
        (f"{whole}", lambda t: t.to(whole), True),
        (f"{other}", lambda t: t.to(other), False),
        ("complex", lambda t: t.to(torch.complex64), True),
        ("NaN", lambda t: torch.full_like(t, float("nan")), True),
        ("infinity", lambda t: torch.full_like(t, -float("inf")), True),
        ("1e38", lambda t: torch.full_like(t, 1e38), False),
        ("subnormal", lambda t: torch.full_like(t, 1e-45), False),
        ("one value for all", lambda t: torch.zeros(1).expand(t.shape), False),
        ("one value for a terabyte", lambda t: torch.zeros(1).expand(2**38), True),
        ("transposed in memory", lambda t: t.T.contiguous().T if t.ndim == 2 else t, False),
    ]


def _only_torch(rng: random.Random) -> list[tuple[str, Callable[[Tensor], Any], bool]]:
    return [
        ("sparse", lambda t: t.to_sparse(), True),
        ("without values", lambda t: t.to("meta"), True),
        ("quantized", lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), True),
        ("a parameter", lambda t: torch.nn.Parameter(t), False),
        ("a number", lambda t: 3.5, True),
        ("none", lambda t: None, True),
        ("a list", lambda t: t.tolist(), True),
        ("a dict", lambda t: {"weight": t}, True),
    ]


def safe_bytes(tensors: Tensors) -> bytes:
    """A safetensors file, whose tensors share no memory."""
    return save({name: tensor.clone().contiguous() for name, tensor in tensors.items()})


def _torch_bytes(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _with_code(rng: random.Random, folder: Path, good: Tensors) -> tuple[bytes, str]:
    code = Code(folder)
    match rng.randrange(5):
        case 0:
            return pickle.dumps(code), "a plain pickle with code"
        case 1:
            return _torch_bytes({**good, "extra": code}), "code beside the tensors"
        case 2:
            return _torch_bytes({"state_dict": good, "epoch": code}), "code beside the state dict"
        case 3:
            buffer = io.BytesIO()
            items: list[object] = [MAGIC, PROTOCOL, {"little_endian": True}, code, []]
            for item in items:
                pickle.dump(item, buffer, protocol=2)
            return buffer.getvalue(), "code in the old format"
        case _:
            whole = _torch_bytes(good)
            buffer = io.BytesIO()
            with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(buffer, "w") as out:
                for name in source.namelist():
                    inside = pickle.dumps(code, protocol=2) if name.endswith(".pkl") else b""
                    out.writestr(name, inside or source.read(name))
            return buffer.getvalue(), "code in place of data.pkl"


def _bomb(rng: random.Random, good: Tensors) -> tuple[bytes, str]:
    """Few bytes that want to be many."""
    whole, buffer = _torch_bytes(good), io.BytesIO()
    bloated = rng.choice(["data.pkl", "data/0", "byteorder", "version"])
    zeros = bytes(2**20)
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
    ):
        for name in source.namelist():
            with out.open(name, "w", force_zip64=True) as entry:
                entry.write(source.read(name))
                if name.endswith(bloated):
                    for _ in range(256):
                        entry.write(zeros)
    return buffer.getvalue(), f"256 MiB of zeros in {bloated}"


def _wrong_header(rng: random.Random) -> tuple[bytes, str]:
    """A safetensors file whose header promises what is not there."""
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    change: dict[str, Any] = rng.choice(
        [
            {"shape": [2**40]}, {"shape": [-4]}, {"shape": [2**63, 2**63]}, {"dtype": "F33"},
            {"data_offsets": [0, 2**50]}, {"data_offsets": [16, 0]}, {"data_offsets": []},
            {"shape": "4"}, {"dtype": None},
        ]
    )  # fmt: skip
    header = json.dumps({"classifier.weight": {**entry, **change}}).encode()
    length = rng.choice([len(header), 2**60, 2**64 - 1, 0, len(header) // 2])
    return struct.pack("<Q", length) + header + bytes(16), f"header with {change}, length {length}"


def _damaged(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    at = rng.randrange(len(content))
    match rng.randrange(4):
        case 0:
            return content[:at], f"cut at {at}"
        case 1:
            flipped = bytes([content[at] ^ (1 << rng.randrange(8))])
            return content[:at] + flipped + content[at + 1 :], f"a bit at {at}"
        case 2:
            return content[:at] + rng.randbytes(64) + content[at + 64 :], f"junk at {at}"
        case _:
            text = rng.choice([b"", b"PK\x03\x04", b"\x80\x02.", b"text", b"\x80\x04" + bytes(99)])
            return text, f"{text[:8]!r} in place of all"


def _other(rng: random.Random, good: Tensors) -> tuple[object, str]:
    """Values that are no state dict of the network."""
    name = rng.choice([n for n in sorted(good) if not n.endswith(COUNTER)])
    return rng.choice(
        [
            ([*good.values()], "a list of tensors"),
            ({}, "an empty dict"),
            (3, "a number"),
            (good[name], "one tensor"),
            ({"state_dict": 3}, "a number as state dict"),
            ({"state_dict": {}}, "an empty state dict"),
            ({"state_dict": {"a": {"b": good}}}, "a state dict in others of unknown names"),
            ({"model": good[name], "ema": {}}, "a tensor for a model"),
            ({**good, 7: good[name]}, "a number as name"),
            ({**good, "a\x1b[31mb": good[name]}, "a name with an escape"),
            ({**good, "x" * 100_000: good[name]}, "a name of 100,000 characters"),
            ({k: v for k, v in good.items() if k != name}, f"{name} removed"),
            ({f"module.{k}x": v for k, v in good.items()}, "every name changed"),
            ({f"m{i}.{k}": v for i, (k, v) in enumerate(good.items())}, "a prefix for each"),
        ]
    )


def wrong_tensors(kind: str) -> Callable[[random.Random, Path], Wrong]:
    """Files of tensors with one thing wrong."""
    from tests.stress.wrong_files import Wrong

    good = good_tensors(kind)
    floats = sorted(name for name, tensor in good.items() if tensor.dtype == torch.float32)

    def draw(rng: random.Random, folder: Path) -> Wrong:
        make = partial(Wrong, names=(kind, "checkpoint"), certainly=True)
        suffix = rng.choice([".pth", ".safetensors"])
        choice = rng.randrange(8)
        if choice == 0:
            content, how = _with_code(rng, folder, good)
            return make(content=content, suffix=suffix, how=how)
        if choice == 1 and rng.random() < 0.3:  # 256 MiB take a second to compress
            content, how = _bomb(rng, good)
            return make(content=content, suffix=".pth", how=how)
        if choice == 2:
            content, how = _wrong_header(rng)
            return make(content=content, suffix=".safetensors", how=how)
        if choice == 3:
            whole = safe_bytes(good) if suffix == ".safetensors" else _torch_bytes(good)
            content, how = _damaged(rng, whole)
            return make(content=content, suffix=suffix, how=how, certainly=False)
        if choice == 4:
            value, how = _other(rng, good)
            return make(content=_torch_bytes(value), suffix=".pth", how=how)
        changes = _tensor_changes(rng)
        if suffix == ".pth":
            changes += _only_torch(rng)
        how, change, certainly = rng.choice(changes)
        name = rng.choice(floats)
        tensors = {**good, name: change(good[name])}
        if "terabyte" in how:
            suffix = ".pth"
        content = safe_bytes(tensors) if suffix == ".safetensors" else _torch_bytes(tensors)
        names = (name,) if certainly and kind == "checkpoint" else (kind, "checkpoint")
        how = f"{name}: {how}"
        return make(content=content, suffix=suffix, how=how, certainly=certainly, names=names)

    return draw

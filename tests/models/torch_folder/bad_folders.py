"""Ways in which a torch folder can be wrong, each with words that the refusal has."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor

WEIGHTS, ARCHITECTURE, PREPROCESSING = (
    "weights.safetensors",
    "architecture.json",
    "preprocessing.json",
)
Spoil = Callable[[Path], object]


def state_of(folder: Path) -> dict[str, Tensor]:
    """The tensors, not mapped from the file, which is written again."""
    return load((folder / WEIGHTS).read_bytes())


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Spoil:
    """Change the tensors."""

    def spoil(folder: Path) -> None:
        state = state_of(folder)
        change(state)
        save_file(state, folder / WEIGHTS)

    return spoil


def document(name: str, **changes: Any) -> Spoil:
    """Change fields of a JSON file; None removes one."""

    def spoil(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        for key, change in changes.items():
            value[key] = change(value[key]) if callable(change) else change
        (folder / name).write_text(json.dumps(value))

    return spoil


def as_pickle(folder: Path) -> None:
    torch.save(state_of(folder), folder / WEIGHTS)


def truncated(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def huge_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((2**31).to_bytes(8, "little") + b"{" + b" " * 100)


def linked(name: str) -> Spoil:
    """A file outside the folder in place of one in it."""

    def spoil(folder: Path) -> None:
        outside = folder.parent / f"outside-{folder.name}-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return spoil


def pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def other_metadata(folder: Path) -> None:
    save_file(state_of(folder), folder / WEIGHTS, {"architecture_sha256": "0" * 64})


def drop_names(state: dict[str, Tensor]) -> None:
    for name in list(state):
        del state[name]


NAME = "first.project.weight"
BAD: dict[str, tuple[Spoil, str]] = {
    "missing tensor": (tensors(lambda s: s.pop(NAME)), f"1 missing: {NAME}"),
    "extra tensor": (tensors(lambda s: s.update(x=torch.ones(1))), "1 unknown: 'x'"),
    "wrong shape": (
        tensors(lambda s: s.update({NAME: torch.ones(4, 8, 1, 1)})),
        "got (4, 8, 1, 1) torch.float32",
    ),
    "nan": (tensors(lambda s: s[NAME].fill_(torch.nan)), "expected finite values"),
    "infinite": (tensors(lambda s: s["classifier.bias"].fill_(torch.inf)), "finite values"),
    "float16": (tensors(lambda s: s.update({NAME: s[NAME].half()})), "torch.float16"),
    "negative variance": (
        tensors(lambda s: s["stem.norm.running_var"].fill_(-1)),
        "expected variances of 0 or more",
    ),
    "no tensors": (tensors(drop_names), "missing: stem.conv.weight"),
    "head of another width": (
        tensors(lambda s: s.update({"classifier.weight": torch.ones(10, 47)})),
        "classifier.weight: expected (10, 48)",
    ),
    "more classes than names": (
        document(PREPROCESSING, class_names=["a", "b"]),
        "expected 10 names",
    ),
    "names twice": (document(PREPROCESSING, class_names=["a"] * 10), "names that differ"),
    "names of a kind": (document(PREPROCESSING, class_names=[1] * 10), "class_names[0]"),
    "pickle": (as_pickle, "expected a whole safetensors file"),
    "truncated": (truncated, "expected a whole safetensors file"),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), "expected a whole safetensors file"),
    "huge header": (huge_header, "expected a header of at most"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "expected a file, found none"),
    "no architecture": (lambda f: (f / ARCHITECTURE).unlink(), "expected a file, found none"),
    "linked weights": (linked(WEIGHTS), "got a symbolic link"),
    "linked architecture": (linked(ARCHITECTURE), "got a symbolic link"),
    "a pipe": (pipe, "got what is none"),
    "weights of another": (other_metadata, "of another architecture"),
    "other architecture": (
        document(ARCHITECTURE, arch=lambda a: {**a, "resolution": 12}),
        "does not belong to this space and architecture",
    ),
    "other space": (
        document(ARCHITECTURE, space=lambda s: {**s, "head_width": 40}),
        "does not belong to this space and architecture",
    ),
    "unknown choice": (
        document(ARCHITECTURE, arch=lambda a: {**a, "resolution": 9}),
        "expected one of [8, 12], got 9",
    ),
    "unknown family": (document(ARCHITECTURE, space=lambda s: {**s, "family": "x"}), "family"),
    "unknown field": (document(ARCHITECTURE, pickle="x"), "unknown field"),
    "other format": (document(ARCHITECTURE, format=2), "architecture.format"),
    "no JSON": (lambda f: (f / ARCHITECTURE).write_text("{"), "expected a JSON file"),
    "deep JSON": (lambda f: (f / ARCHITECTURE).write_text("[" * 100_000), "nested too deep"),
    "other resolution": (document(PREPROCESSING, resolution=12), "expected 8 as in"),
    "no mean": (document(PREPROCESSING, mean=[]), "expected 1 numbers"),
    "no spread": (document(PREPROCESSING, std=[0.0]), "std[0]"),
}

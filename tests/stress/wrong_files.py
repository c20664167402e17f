"""Good files of each kind that users write, and one thing wrong with each copy."""

from __future__ import annotations

import copy
import json
import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.training.recipe import RECIPES
from tests.service.conftest import SUPERNET
from tests.spaces import DEBUG
from tests.stress.wrong_checkpoints import wrong_tensors

GOOD_SPACE, GOOD_CHECKPOINT = "good-space.toml", "good-checkpoint.safetensors"

WEIRD: dict[type, list[Any]] = {
    int: [0, -1, -8, 2**31, 2**63, 10**30, 10**400],
    float: [3.0, 0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf")],
    bool: [True, False],
    str: [
        "", "8", "\x00", "a\nb", "\x1b[31m", "../../evil", "/etc/passwd", "a" * 20_000, "\u202e",
        "{{7*7}}", "%s%n", "file:///", "é", "relu7", "__class__", " ", "nan",
    ],
    list: [[], [1], [[]], [None] * 3, list(range(500)), ["3", "5"], [3, 3], [5, 3], [3.5, 5]],
    dict: [{}, {"width": 8}, {"": 1}, {"__proto__": {}}],
}  # fmt: skip
OPTIONAL = {
    "bn_eps", "family", "warmup_epochs", "subnets_per_step", "always", "resolutions", "kernels",
    "expands", "depths", "sort_channels", "distill", "teacher", "batch", "weight_decay", "act",
}  # fmt: skip
"""Fields that some table may leave out."""


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A file with something wrong, or with another value that may be right."""

    content: bytes
    suffix: str
    how: str
    certainly: bool
    """Whether it must be refused."""
    names: tuple[str, ...]
    """One of these must be in the error."""

    def named(self, error: str) -> bool:
        """Whether the error says where the fault is."""
        return any(name in error for name in self.names)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file, and the command that takes one."""

    command: Callable[[Path, Path], list[object]]
    draw: Callable[[random.Random, Path], Wrong]


def toml_text(value: dict[str, Any]) -> str:
    """A document as TOML, tables inline."""
    return "".join(f"{json.dumps(key)} = {_toml(item)}\n" for key, item in value.items())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return '"none"' if value is None else json.dumps(value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inside:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += _places(item, (*path, key))
    return found


def _changed(rng: random.Random, good: Any) -> tuple[Any, str, bool, tuple[str, ...]]:
    """A copy with one part replaced, removed or added: it, how, whether that must be refused, and
    which names the error may have."""
    value = copy.deepcopy(good)
    *parents, last = rng.choice(_places(value))
    owner = value
    for part in parents:
        owner = owner[part]
    names = tuple(str(part) for part in (*parents, last) if isinstance(part, str)) or ("[",)
    where = ".".join(map(str, (*parents, last)))
    match rng.randrange(5):
        case 0 if isinstance(owner, dict):
            del owner[last]
            return value, f"{where} removed", last not in OPTIONAL, (*names, "missing")
        case 1 if isinstance(owner, dict):
            strange = rng.choice(["colour", "Name", "", "a b", "a\x1bb", "x" * 3000, "__class__"])
            owner[strange] = 1
            return value, f"{strange[:20]!r} added to {where}", True, ("unknown field",)
    old = owner[last]
    kind = rng.choice(list(WEIRD))
    owner[last] = rng.choice(WEIRD[kind])
    same = kind is type(old) or (kind is int and isinstance(old, float))
    how = f"{where} = {owner[last]!r}"[:200]
    return value, how, not same, names


def _damaged(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    at = rng.randrange(len(content))
    junk = rng.choice([b"\x00", b"\xff", b"[", b"{", b'"', b"=", b"\n", b"\x1b", b"9" * 5000])
    match rng.randrange(4):
        case 0:
            return content[:at], f"cut at {at}"
        case 1:
            return content[:at] + junk + content[at:], f"{junk[:4]!r} at {at}"
        case 2:
            return content[:at] + junk + content[at + 1 :], f"{junk[:4]!r} in place of byte {at}"
        case _:
            text = rng.choice([b"", b"\n", b"[" * 20_000, b"\xff\xfe", content * 2, b"null", b"7"])
            return text, f"{text[:8]!r} in place of all"


def _documents(good: Any, suffix: str, root: str) -> Callable[[random.Random, Path], Wrong]:
    write = toml_text if suffix == ".toml" else json.dumps
    file = f"expected a {suffix[1:].upper()} file"
    general = (root, file, "checkpoint does not fit", "dataset")

    def draw(rng: random.Random, folder: Path) -> Wrong:
        names: tuple[str, ...]
        if rng.random() < 0.25:
            content, how = _damaged(rng, write(good).encode())
            certainly, names = False, general
        else:
            value, how, certainly, names = _changed(rng, good)
            content = write(value).encode()
            names = (*names, file) if certainly else (*names, *general)
        return Wrong(content=content, suffix=suffix, how=how, certainly=certainly, names=names)

    return draw


def good_space() -> dict[str, Any]:
    return {**_plain(DEBUG.to_json()), "name": "fuzzed-space"}


def _recipe() -> dict[str, Any]:
    recipe = tomllib.loads((RECIPES / "debug.toml").read_text())
    return {**recipe, "name": "fuzzed", "dataset": "no-such-folder"}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _archs(count: int) -> list[Any]:
    import numpy as np

    return [a.to_json() for a in DEBUG.decode(DEBUG.sample(count, np.random.default_rng(0)))]


def _import(*options: str) -> Callable[[Path, Path], list[object]]:
    """Import a checkpoint as a supernet of the good space."""
    return lambda folder, path: [
        "supernets", "import", "fuzzed", path, "--space", folder / GOOD_SPACE, *options
    ]  # fmt: skip


_TOP1 = {"arch": _archs(49), "top1": [50.5] * 49, "source": "me", "target": "made up"}
_TIMES = {"arch": _archs(9), "latency_ms": [1.5] * 9, "batch": 1}

KINDS: dict[str, Kind] = {
    "space": Kind(
        command=lambda folder, path: [
            "supernets", "import", "fuzzed", folder / GOOD_CHECKPOINT, "--space", path
        ],
        draw=_documents(good_space(), ".toml", "space"),
    ),
    "recipe": Kind(
        command=lambda folder, path: ["supernets", "train", path],
        draw=_documents(_recipe(), ".toml", "recipe"),
    ),
    "checkpoint": Kind(command=_import(), draw=wrong_tensors("checkpoint")),
    "architectures": Kind(
        command=lambda folder, path: ["predict", "--supernet", SUPERNET, "--archs", path],
        draw=_documents(_archs(3), ".json", "archs"),
    ),
    "architecture": Kind(
        command=lambda folder, path: [
            "export", "--supernet", SUPERNET, "--arch", path, "-o", folder / "out.onnx"
        ],
        draw=_documents(_archs(1)[0], ".json", "arch"),
    ),
    "predictor": Kind(
        command=lambda folder, path: [
            "supernets", "import", "ofa-mbv3-w1.2", "none", "--predictor", path, "--searches", 0
        ],
        draw=wrong_tensors("predictor"),
    ),
    # One network fewer than a fit needs, so that none is fitted.
    "top-1": Kind(
        command=lambda folder, path: [
            "supernets", "fit-predictor", SUPERNET, "--measurements", path
        ],
        draw=_documents(_TOP1, ".json", "measurements"),
    ),
    "latencies": Kind(
        command=lambda folder, path: [
            "devices", "fit", "fuzzed", "--space", DEBUG.name, "--measurements", path
        ],
        draw=_documents(_TIMES, ".json", "measurements"),
    ),
}  # fmt: skip

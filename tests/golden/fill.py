"""Tensors and images of the golden cases: each is filled from its name alone.

The values are those that the reference implementation was run on (tests/golden).
"""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent
FAMILIES = {
    "ofa-mbv3-w1.0": "ofa_mbv3_w1.0",
    "ofa-mbv3-w1.2": "ofa_mbv3_w1.2",
    "ofa-proxyless-w1.3": "ofa_proxyless_w1.3",
    "ofa-resnet50": "ofa_resnet50",
}
"""Supernet: name of its golden files."""


@cache
def golden(supernet: str) -> dict[str, Any]:
    """Keys, shapes and cases of a family."""
    found: dict[str, Any] = json.loads((GOLDEN / f"{FAMILIES[supernet]}.json").read_text())
    return found


def shapes(supernet: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor, by its name in the newer format, in order."""
    return {name: tuple(shape) for name, shape in dict(golden(supernet)["state_dict"]).items()}


@cache
def arrays(supernet: str) -> dict[str, np.ndarray]:
    """Logits of the reference implementation."""
    with np.load(GOLDEN / f"{FAMILIES[supernet]}.npz") as found:
        return dict(found)


def filled(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """The values of one tensor."""
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    kind = name.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
        values = rng.uniform(0.5, 1.5, shape)
    elif kind in ("running_mean", "bias"):
        values = 0.1 * rng.standard_normal(shape)
    elif kind.endswith("_matrix"):
        values = np.eye(shape[0]) + 0.05 * rng.standard_normal(shape)
    else:
        values = np.sqrt(1.3 / np.prod(shape[1:], dtype=int)) * rng.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def checkpoint(supernet: str) -> dict[str, Tensor]:
    """A whole state dict in the newer format."""
    seed = golden(supernet)["seed"]
    return {name: filled(name, shape, seed) for name, shape in shapes(supernet).items()}


def images(batch: int, size: int, seed: int) -> Tensor:
    """Standard normal images (batch, 3, size, size)."""
    rng = np.random.Generator(np.random.PCG64([seed, batch, size]))
    return torch.from_numpy(rng.standard_normal((batch, 3, size, size)).astype(np.float32))

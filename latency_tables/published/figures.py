"""Whole networks that others measured and published, read from their files.

The `README.md` in the folder of published figures describes the format.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latency_tables.fitting import Floats, layer_features
from models.spaces import Arch, layer_plan, published_spaces


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One measured network."""

    device: str
    batch: int
    space: str
    arch: Arch
    latency_ms: float
    features_F: Floats


def read_zoo(path: Path) -> list[Point]:
    """The networks of the zoo that were measured on a device."""
    rows = json.loads(path.read_text())["points"]
    return [
        _point(row["device"], row["batch"], row["space"], _arch(row), row["latency_ms"])
        for row in rows
        if row["device"] is not None
    ]


def read_gpus(path: Path, names: Iterable[str]) -> dict[str, list[Point]]:
    """The networks that were measured on each GPU at each batch, by "device_batch"."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    networks = [_point("", 1, content["space"], _unpadded(row), 0.0) for row in content["arch"]]
    points = {}
    for name in names:
        device, batch = name.rsplit("_", 1)
        points[name] = [
            replace(network, device=device, batch=int(batch), latency_ms=latency_ms)
            for network, latency_ms in zip(networks, content["latency_ms"][name], strict=True)
        ]
    return points


def _point(device: str, batch: int, space: str, arch: Arch, latency_ms: float) -> Point:
    features_LF = layer_features(layer_plan(published_spaces()[space], arch))
    return Point(device, batch, space, arch, float(latency_ms), features_LF.sum(axis=0))


def _arch(row: Mapping[str, Any]) -> Arch:
    return Arch.from_json({k: row[k] for k in ("resolution", "depth", "kernel", "expand")})


def _unpadded(row: Mapping[str, Any]) -> Arch:
    """The architecture of flat lists that hold inactive blocks too."""
    most = len(row["kernel"]) // len(row["depth"])
    cut = {
        name: [row[name][s * most : s * most + d] for s, d in enumerate(row["depth"])]
        for name in ("kernel", "expand")
    }
    return _arch({**row, **cut})

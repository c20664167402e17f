"""Recalibrated batch-norm statistics on disk, by all that they were computed from.

Recalibration shows a network some thousand images; its statistics are a few thousand numbers, and
as float32 they come back bit for bit. A file that cannot be read, or whose content is not what it
was written with, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import PIL
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from latency_tables.benchmark import processor
from models.machine import write_atomically
from models.onnx import CALIBRATION_BATCH, ImageSet
from models.spaces import Arch
from models.supernet import Subnet, Supernet, extract, recalibrate

FORMAT = 1
"""Raised when recalibration comes to be done in another way, so that old files are left alone."""
KEPT = 1000
"""Files; those of the largest published spaces have 180 to 281 kB."""


class RecalibratedStore:
    """Statistics of one installation.

    Args:
        folder: where they are; made when the first are kept.
        kept: number of files beyond which the oldest are dropped.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder, self.kept = folder, kept

    def subnet(
        self,
        supernet: Supernet,
        weights_sha256: str,
        arch: Arch,
        calibration: ImageSet,
        threads: int = 1,
    ) -> Subnet:
        """`models.onnx.export.calibrated_subnet`, bit for bit, recalibrated only the first time.

        Args:
            weights_sha256: of the file that `supernet` was loaded from.
        """
        subnet = extract(supernet, arch)
        statistics = _statistics(subnet)
        path = self._path(supernet, weights_sha256, arch, calibration)
        if (kept := _read(path, statistics)) is not None:
            for name, tensor in kept.items():
                statistics[name].copy_(tensor)
        else:
            batches = calibration.batches(arch.resolution, CALIBRATION_BATCH)
            recalibrate(subnet, batches, threads)
            self._write(path, statistics)
        return subnet

    def _path(
        self, supernet: Supernet, weights_sha256: str, arch: Arch, calibration: ImageSet
    ) -> Path:
        origins = {
            "format": FORMAT,
            "space": supernet.space.to_json(),
            "weights": weights_sha256,
            "arch": arch.to_json(),
            "images": calibration.sha256,
            "batch": CALIBRATION_BATCH,
            # Another machine or library may sum in another order, or resize otherwise.
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "processor": processor(),
        }
        content = json.dumps(origins, sort_keys=True)
        return self.folder / f"{hashlib.sha256(content.encode()).hexdigest()}.safetensors"

    def _write(self, path: Path, statistics: Mapping[str, Tensor]) -> None:
        """Where the disk does not take it, it is computed again next time."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, save(dict(statistics), {"sha256": _sha256(statistics)}))
            by_age = sorted(self.folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
            for old in by_age[: -self.kept]:
                old.unlink(missing_ok=True)
        except OSError:
            return


def _statistics(subnet: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of a network, which share its memory."""
    return {
        f"{prefix}.{name}": norm.get_buffer(name)
        for prefix, norm in subnet.named_modules()
        if isinstance(norm, nn.BatchNorm2d)
        for name in ("running_mean", "running_var")
    }


def _read(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """What `path` keeps, if that is whole and of the names and shapes of `expected`."""
    try:
        with safe_open(path, "pt") as file:
            kept = {name: file.get_tensor(name) for name in file.keys()}
            stated = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    if {name: tensor.shape for name, tensor in kept.items()} != {
        name: tensor.shape for name, tensor in expected.items()
    }:
        return None
    return kept if _sha256(kept) == stated else None


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Of names and contents: safetensors files have no checksum of their own."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()

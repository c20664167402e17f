"""A cache of recalibrated batch-norm statistics on disk, keyed by everything they depend on.

Recalibration runs a network on some thousand images. Its statistics are a few thousand numbers;
stored as float32 they are read back bit for bit. A file that cannot be read, or whose checksum does
not match, is ignored.
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
"""Part of the key: increased when recalibration changes, so that old files are not used."""
MAX_FILES = 1000
"""Of 180 to 281 kB each for the largest published spaces."""


class BatchNormCache:
    """The cache of one installation.

    Args:
        folder: of the files; created with the first.
        max_files: beyond this number the oldest files are removed.
    """

    def __init__(self, folder: Path, max_files: int = MAX_FILES) -> None:
        self.folder, self.max_files = folder, max_files

    def subnet(
        self,
        supernet: Supernet,
        weights_sha256: str,
        arch: Arch,
        calibration: ImageSet,
        threads: int = 1,
    ) -> Subnet:
        """The same as `models.onnx.calibrated_subnet`, bit for bit, recalibrating only once.

        Args:
            weights_sha256: of the file that `supernet` was loaded from.
        """
        subnet = extract(supernet, arch)
        statistics = _statistics(subnet)
        path = self._path(supernet, weights_sha256, arch, calibration)
        if (cached := _read(path, statistics)) is not None:
            for name, tensor in cached.items():
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
            # Libraries and processors differ in the order of summation and in resizing.
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "processor": processor(),
        }
        content = json.dumps(origins, sort_keys=True)
        return self.folder / f"{hashlib.sha256(content.encode()).hexdigest()}.safetensors"

    def _write(self, path: Path, statistics: Mapping[str, Tensor]) -> None:
        """Store statistics; if the disk is full or read-only, they are computed again next time."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, save(dict(statistics), {"sha256": _sha256(statistics)}))
            by_age = sorted(self.folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
            for old in by_age[: -self.max_files]:
                old.unlink(missing_ok=True)
        except OSError:
            return


def _statistics(subnet: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of a network; the tensors share its memory."""
    return {
        f"{prefix}.{name}": norm.get_buffer(name)
        for prefix, norm in subnet.named_modules()
        if isinstance(norm, nn.BatchNorm2d)
        for name in ("running_mean", "running_var")
    }


def _read(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The statistics in `path`, if its checksum matches, and names and shapes are as expected."""
    try:
        with safe_open(path, "pt") as file:
            statistics = {name: file.get_tensor(name) for name in file.keys()}
            stated = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    if {name: tensor.shape for name, tensor in statistics.items()} != {
        name: tensor.shape for name, tensor in expected.items()
    }:
        return None
    return statistics if _sha256(statistics) == stated else None


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Of names and contents; safetensors files have no checksum."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()

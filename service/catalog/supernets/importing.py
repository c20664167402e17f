"""Foreign checkpoints and predictors become a bundle, whole or not at all."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import (
    IMAGENET,
    WEIGHTS,
    Bundle,
    BundleRegistry,
    file_sha256,
    published_card,
    write_bundle,
)
from models.errors import Conflict, InputError, show_value
from models.published import blob_id
from models.spaces import SearchSpace, load_space

SEARCHES = 48
"""Made-up devices that a predictor is explored on: about a minute on two cores."""
CALIBRATION_IMAGES = 512
CALIBRATION_SIZE = 256
"""Calibration images are kept at most this large, pixels."""


def import_supernet(
    home: Path,
    name: str,
    checkpoint: Path | None,
    *,
    predictor: Path | None = None,
    space_file: Path | None = None,
    calibration: Path | None = None,
    replace: bool = False,
    searches: int = SEARCHES,
    on_share: Callable[[float], None] = lambda _: None,
    warn: Callable[[list[str]], None] = lambda _: None,
) -> Bundle:
    """Bring a published supernet, or parts of one; what is there already is kept.

    Args:
        name: a known supernet, or with `space_file` a new one.
        checkpoint: torch or safetensors file in either published naming, or the index of several.
        predictor: a published accuracy predictor.
        space_file: a space of the user's own (docs/spaces.md).
        calibration: a folder of training images, ImageFolder layout.
        replace: put new weights in the place of different ones.
        searches: made-up devices to explore the predictor on (`search.evolution.warm_start_pool`).
        on_share: told how many of them are done, 0..1.
        warn: told what was done to the checkpoint, and what is odd about the calibration images.

    Raises:
        NotFound: if a name or a file is unknown.
        InputError: if a file does not fit the space, or nothing is given to import.
        Conflict: if there are other weights or another space under this name.
    """
    if checkpoint is None and predictor is None and calibration is None:
        raise InputError("nothing to import: name a checkpoint, --predictor or --calibration")
    registry = BundleRegistry(home)
    base = _base(registry, name, space_file)
    card, space = dict(base.card), base.space
    files = {file: base.content(file) for file in card["files"]}
    if checkpoint is not None:
        content, source = _weights(checkpoint, space, warn)
        if files.get(WEIGHTS, content) != content and not replace:
            raise Conflict(
                f"supernet {name!r} has other weights already (sha256 {base.sha256[:12]}): "
                "import with --replace to put these in their place"
            )
        files[WEIGHTS] = content
        card["source"] = source
    if predictor is not None:
        files["predictor.safetensors"], card["predictor"] = _predictor(
            predictor, space, searches, on_share, warn
        )
    if calibration is not None:
        files["calibration.npz"], images, classes = _calibration(calibration, space)
        data = {**card.get("data", {}), "calibration_images": len(images)}
        card["data"] = {**data, "calibration_classes": classes}
        warn(_calibration_warnings(images, classes, card, space))
    return write_bundle(registry.folder / name, card, files, replace=True)


def _base(registry: BundleRegistry, name: str, space_file: Path | None) -> Bundle:
    """What is known under `name`, or an empty bundle of the user's space."""
    if space_file is None:
        return registry.get(name)
    space = load_space(space_file)
    if name in registry.names():
        known = registry.get(name)
        if known.space != space:
            raise Conflict(
                f"supernet {name!r} is there already with another space: choose another name"
            )
        return known
    from latency_tables.table import check_name

    check_name(name, "supernet name")
    card = {**published_card(space), "name": name, "data": {"name": "the user's own"}}
    half = [0.5] * space.channels
    mean_std = IMAGENET if space.channels == 3 else {"mean": half, "std": half}
    card["preprocess"] = {"channels": space.channels, "interpolation": "bilinear", **mean_std}
    return Bundle(registry.folder / name, card, space)


def _weights(
    path: Path, space: SearchSpace, warn: Callable[[list[str]], None]
) -> tuple[bytes, dict[str, Any]]:
    """The weights as a bundle has them, and where they are from, with what was done to them."""
    from safetensors.torch import save

    from models.supernet import detect_format, from_published, read_checkpoint

    changes: list[str] = []
    tensors = read_checkpoint(path, changes.append)
    ours = from_published(space, tensors, changes.append)
    if changes:
        warn(changes)
    source: dict[str, Any] = {
        "file": path.name,
        "sha256": file_sha256(path),
        "git_blob": blob_id(path),
        "key_format": detect_format(tensors),
        **({"changes": changes} if changes else {}),
    }
    return save(ours), source


def _predictor(
    path: Path,
    space: SearchSpace,
    searches: int,
    on_share: Callable[[float], None],
    warn: Callable[[list[str]], None],
) -> tuple[bytes, dict[str, Any]]:
    import torch

    from models.supernet import read_checkpoint
    from search.evolution import build_warm_start_pool
    from search.predictors import read_published_mlp

    changes: list[str] = []
    tensors, converted = {}, set()
    for name, tensor in read_checkpoint(path, changes.append).items():
        if not tensor.is_floating_point():
            raise InputError(f"predictor {show_value(name)}: expected float32, got {tensor.dtype}")
        converted |= {tensor.dtype} - {torch.float32}
        tensors[name] = tensor.to(torch.float32, copy=True).numpy()
    changes += [f"{path.name}: converted from {dtype} to float32" for dtype in converted]
    if changes:
        warn(changes)
    source = f"{path.name}, sha256 {file_sha256(path)[:12]}"
    predictor = read_published_mlp(tensors, space, source)
    pool = build_warm_start_pool(predictor, searches, on_share)
    predictor = with_changes(predictor, warm_start_pool=pool)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "predictor.safetensors"
        predictor.save(saved)
        return saved.read_bytes(), predictor.provenance.to_json()


def read_calibration(folder: Path, space: SearchSpace) -> tuple[npt.NDArray[np.uint8], int | None]:
    """Images of a folder, (N, size, size) or (N, size, size, C), as a network of `space` needs, and
    of how many classes they are; None where they do not lie in class folders.

    Raises:
        InputError: if there is no such folder, no image in it, or a damaged one.
    """
    from models.data import calibration_images

    return calibration_images(
        folder,
        channels=space.channels,
        largest=min(CALIBRATION_SIZE, space.resolutions[-1]),
        count=CALIBRATION_IMAGES,
    )


def _calibration(
    folder: Path, space: SearchSpace
) -> tuple[bytes, npt.NDArray[np.uint8], int | None]:
    images, classes = read_calibration(folder, space)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=images)
    return buffer.getvalue(), images, classes


def _calibration_warnings(
    images: npt.NDArray[np.uint8], classes: int | None, card: Mapping[str, Any], space: SearchSpace
) -> list[str]:
    from models.data import calibration_warnings

    usual = card["preprocess"]
    return calibration_warnings(
        images, usual["mean"], usual["std"], classes=classes, of_classes=space.classes
    )


def write_checkpoint(bundle: Bundle, path: Path, key_format: str) -> Path:
    """The bundle's weights under published names, as torch's `{"state_dict": ...}`.

    Raises:
        InputError: if the format is unknown, or the bundle has no weights.
    """
    import torch
    from safetensors.torch import load_file

    from models.machine import write_atomically
    from models.supernet import FORMATS, to_published

    if key_format not in FORMATS:
        raise InputError(f"format: expected one of {FORMATS}, got {key_format!r}")
    bundle.check_weights()
    with bundle.pinned(WEIGHTS) as weights:
        tensors = load_file(weights)
    buffer = io.BytesIO()
    torch.save({"state_dict": to_published(bundle.space, tensors, key_format)}, buffer)
    write_atomically(path, buffer.getvalue())
    return path

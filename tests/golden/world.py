"""The installation that golden records are made on, set up through the command line alone.

It holds the shipped supernet, the published spaces with filled checkpoints (`tests.golden.fill`),
and devices of fixed figures under a processor that no machine has, so that nothing is timed here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.golden.fill import checkpoint

ROOT = Path(__file__).resolve().parents[2]
CPU = "golden-cpu"
RESNET_DEVICE = "golden-gpu"
PROCESSOR = "golden"
CALIBRATION_IMAGES = 6
EXPLORING = 4
"""Searches that explore the filled predictor of w1.2."""

Run = Callable[..., Any]
"""Run the command with these arguments; returns the document that it prints."""


def build(home: Path, files: Path, run: Run) -> None:
    """Set up `home`, with input files under `files`."""
    photos = files / "photos"
    _photos(photos)
    for supernet in ("ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-resnet50"):
        path = files / f"{supernet}.pth"
        torch.save({"state_dict": checkpoint(supernet)}, path)
        extra: list[object] = []
        if supernet != "ofa-mbv3-w1.0":  # which ships with a predictor
            predictor = files / f"{supernet}-predictor.safetensors"
            save_file(_predictor(supernet), predictor)
            searches = EXPLORING if supernet == "ofa-mbv3-w1.2" else 0
            extra = ["--predictor", predictor, "--searches", searches]
        run("supernets", "import", supernet, path, "--calibration", photos, *extra)
        path.unlink()
    for precision in ("fp32", "int8"):
        run("devices", "import", write(files / f"{CPU}-{precision}.json", _profile(precision)))
    archs = [resnet_arch(seed) for seed in range(24)]
    listed = write(files / "resnets.json", archs)
    predicted = run("predict", "--supernet", "ofa-resnet50", "--archs", listed)
    times = [0.4 + row["macs"] / 1e9 + row["params"] / 1e8 for row in predicted]
    measured = write(files / "measured.json", {"arch": archs, "latency_ms": times, "batch": 1})
    fit = ("devices", "fit", RESNET_DEVICE, "--space", "ofa-resnet50", "--measurements", measured)
    run(*fit, "--runtime", "fake")


def write(path: Path, value: object) -> Path:
    """A JSON file."""
    path.write_text(json.dumps(value))
    return path


def resnet_arch(seed: int) -> dict[str, Any]:
    """A random network of the published ResNet space."""
    rng = np.random.default_rng(seed)
    extra = rng.integers(0, 3, 4)
    blocks = [least + more for least, more in zip((2, 2, 4, 2), extra.tolist(), strict=True)]
    return {
        "resolution": int(rng.choice([128, 160, 192, 224])),
        "depth": [int(rng.integers(0, 2)), *extra.tolist()],
        "width": rng.choice([0.65, 0.8, 1.0], 6).tolist(),
        "expand": [rng.choice([0.2, 0.25, 0.35], count).tolist() for count in blocks],
    }


def _profile(precision: str) -> dict[str, Any]:
    """The shipped table of an ordinary processor, under another name."""
    tail = "" if precision == "fp32" else f"@{precision}"
    (path,) = ROOT.glob(f"latency_tables/**/cpu-x86-64-ort@fashion-mbv3{tail}.json")
    table = json.loads(path.read_text())
    stated = {**table["conditions"], "processor": PROCESSOR, "power_w": 20.0}
    heads = {name: stated.pop(name) for name in ("runtime", "precision", "batch")}
    kept = ("space", "network_overhead_ms", "expected_error", "residual_ratios", "source")
    return {
        "name": CPU,
        **heads,
        "conditions": {name: value for name, value in stated.items() if value is not None},
        **{name: table[name] for name in kept},
        "table": table["entries"],
    }


def _photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in range(CALIBRATION_IMAGES):
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((240, 240)).save(folder / f"{index}.png")


def _predictor(supernet: str) -> dict[str, torch.Tensor]:
    """A predictor file in the published form, each tensor filled from its name."""
    inputs, resnet = (82, True) if supernet == "ofa-resnet50" else (128, False)
    names = ("layers.0.0", "layers.1.0", "layers.2.0", "layers.3") if resnet else "0246"
    sizes = [inputs, 400, 400, 400, 1]
    tensors: dict[str, torch.Tensor] = {}
    for name, entering, leaving in zip(names, sizes, sizes[1:], strict=False):
        rng = np.random.default_rng(zlib.crc32(f"{supernet} {name}".encode()))
        scale = np.sqrt((2 if leaving > 1 else 0.003) / entering)
        weight = (scale * rng.standard_normal((leaving, entering))).astype(np.float32)
        tensors[f"{name}.weight"] = torch.from_numpy(weight)
        if leaving > 1 or not resnet:
            bias = 0.1 * rng.standard_normal(leaving) if leaving > 1 else np.array([0.7])
            tensors[f"{name}.bias"] = torch.from_numpy(bias.astype(np.float32))
    if resnet:
        tensors["base_acc"] = torch.tensor([0.7])
    return tensors

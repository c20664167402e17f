"""Make `data/` from the published figures.

    python -m latency_tables.published.publish [FOLDER]

FOLDER (default: $SUBNET_REFERENCE) holds what others measured; see `docs/decisions/0015`.

* Layers measured one by one (Galaxy Note10, ofa-mbv3-w1.2): kept as they are.
* Thousands of whole networks (four GPUs at batch 64, ofa-mbv3-w1.2): unit costs are fitted.
* Three to seven whole networks of a device: its unit costs stay near those of a donor. The phones
  share one donor, fitted to all of them near the Note10's layers.

A donor measured under other software gives the ratios of the costs only; their scale is free.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.fitting import (
    Costs,
    Floats,
    as_costs,
    fit_costs,
    fit_layers,
    folds,
    layer_features,
)
from latency_tables.published.builtin import BUILTIN
from latency_tables.published.ofa_yaml import import_ofa_lut
from latency_tables.published.records import FILE, SCHEMA_VERSION
from latency_tables.published.shipped import extended, measured_file, table_of_costs
from latency_tables.table import Conditions, LatencyTable, space_layers, table_to_json
from models.errors import InputError
from models.machine import write_atomically
from models.spaces import Arch, layer_plan, published_spaces

NOTE10, W12, PROXYLESS = "samsung-note10", "ofa-mbv3-w1.2", "ofa-proxyless-w1.3"
SPACES = ("ofa-mbv3-w1.0", W12, PROXYLESS)
PHONES = {
    "samsung-note8": "Samsung Galaxy Note8",
    NOTE10: "Samsung Galaxy Note10",
    "samsung-s7-edge": "Samsung Galaxy S7 edge",
    "lg-g8": "LG G8",
    "google-pixel": "Google Pixel",
    "google-pixel-2": "Google Pixel 2",
}
GPUS = {
    "v100_64": ("v100", "NVIDIA V100"),
    "titan_xp_64": ("titan-xp", "NVIDIA Titan Xp"),
    "titan_rtx_64": ("titan-rtx", "NVIDIA Titan RTX"),
    "2080ti_64": ("rtx-2080ti", "NVIDIA GeForce RTX 2080 Ti"),
}
LUT_SOURCE = "per-layer table published with Once-for-All v0.1 (mit-han-lab/once-for-all)"
ZOO = "model zoo of Once-for-All (mit-han-lab/once-for-all)"
HELP = "HELP (HayeonLee/HELP)"
ZOO_SPREAD = 0.02
"""Prior spread where only a few rounded figures are known: they determine little but the scale."""
FREE_OVERHEAD = 1.0
"""Prior spread of a server processor's overhead, of which no donor says anything."""
CLASS_ROUNDS = 8
MODEL_NOISE = 0.02
ROUNDING_MS = 1 / 12**0.5
"""Standard deviation of the zoo's rounding to whole milliseconds."""
RATIOS = 199
"""How many ratios are shipped; if there are more, a random sample of them."""


Predictor = Callable[[Sequence["Point"]], Costs]
"""Costs of one device from measured points, its own and others'."""


def publish(reference: Path, folder: Path = BUILTIN) -> None:
    """Write `shipped.json` and the measured layers into `folder`."""
    tables, layers = figures(reference)
    text = json.dumps({"schema_version": SCHEMA_VERSION, "tables": tables}, indent=1)
    write_atomically(folder / FILE, f"{text}\n".encode())
    packed = gzip.compress(table_to_json(layers).encode(), mtime=0)
    write_atomically(folder / measured_file(layers.device, layers.space), packed)


def figures(reference: Path) -> tuple[list[dict[str, Any]], LatencyTable]:
    """The shipped records, one for each device and spaces with equal figures, and the measured
    layers."""
    points = read_zoo(reference / "zoo_points.json")
    gpus = read_gpus(reference / "gpu_latency.json.gz", GPUS)
    layers = read_note10(reference)
    note10 = fit_layers(layers, space_layers(layers.covered(published_spaces()[W12])).values())
    titan_xp, v100 = (fit_costs(*_arrays(gpus[name])[:2]) for name in ("titan_xp_64", "v100_64"))
    phones = "those of six phones, near the Note10's layers"
    tables = [record for name in GPUS for record in _from_gpu(*GPUS[name], gpus[name])]
    for device, processor in PHONES.items():
        tables += _from_zoo(device, processor, points, _phone(device, note10), phones)
    for device, processor, donor, shape in (
        ("gtx-1080ti", "NVIDIA GeForce GTX 1080 Ti", titan_xp, "a Titan Xp's"),
        ("jetson-tx2", "NVIDIA Jetson TX2", titan_xp, "a Titan Xp's"),
        ("v100", GPUS["v100_64"][1], v100, "a V100's under other software"),
    ):
        tables += _from_zoo(device, processor, points, _near(donor, device), shape)
    xeon = _near(note10, "intel-xeon", FREE_OVERHEAD)
    tables += _from_zoo("intel-xeon", "Intel Xeon", points, xeon, "the Note10's layers")
    tables.append(_from_layers(layers, note10, points))
    return tables, layers


def read_note10(reference: Path) -> LatencyTable:
    """The layers of the Note10."""
    space, conditions = published_spaces()[W12], Conditions(**_conditions(PHONES[NOTE10], 1))
    layers = import_ofa_lut(reference / "note10_lut", space, device=NOTE10, source=LUT_SOURCE)
    return replace(layers, conditions=conditions)


# -- fitting ---------------------------------------------------------------------------------


def _arrays(points: Sequence[Point]) -> tuple[Floats, Floats, Floats]:
    """Features, latencies and expected relative errors."""
    latency_N = np.array([p.latency_ms for p in points])
    noise_N = np.hypot(MODEL_NOISE, ROUNDING_MS / latency_N)
    return np.array([p.features_F for p in points]), latency_N, noise_N


def _near(donor: Costs, device: str, overhead_spread: float = ZOO_SPREAD) -> Predictor:
    def fit(points: Sequence[Point]) -> Costs:
        features, latency, noise = _arrays([p for p in points if p.device == device])
        return fit_costs(
            features,
            latency,
            donor=donor,
            noise_N=noise,
            spread=ZOO_SPREAD,
            overhead_spread=overhead_spread,
        )

    return fit


def _phone(device: str, note10: Costs) -> Predictor:
    return lambda points: _near(phones_costs(points, note10), device)(points)


def phones_costs(points: Sequence[Point], note10: Costs) -> Costs:
    """Unit costs that all phones share, up to a scale for each."""
    costs = note10
    features, latency, noise = _arrays([p for p in points if p.device in PHONES])
    devices = np.array([p.device for p in points if p.device in PHONES])
    for _ in range(CLASS_ROUNDS):
        log_scale = np.log(latency / costs.predict(features))
        for device in PHONES:
            log_scale[devices == device] = log_scale[devices == device].mean()
        costs = fit_costs(features, latency / np.exp(log_scale), donor=note10, noise_N=noise)
    return costs


def left_out(points: Sequence[Point], device: str, predictor: Predictor) -> Floats:
    """Measured over predicted latency of a device's networks, each predicted without it, (N,)."""
    return np.array(
        [
            p.latency_ms / _predict(predictor([q for q in points if q is not p]), p)
            for p in points
            if p.device == device
        ]
    )


def _predict(costs: Costs, point: Point) -> float:
    return float(costs.predict(point.features_F[None])[0])


# -- records ---------------------------------------------------------------------------------


def _from_gpu(device: str, processor: str, points: Sequence[Point]) -> Iterator[dict[str, Any]]:
    features, latency, _ = _arrays(points)
    ratios = np.empty(len(points))
    for held_out in folds(len(points)):
        costs = fit_costs(features[~held_out], latency[~held_out])
        ratios[held_out] = latency[held_out] / costs.predict(features[held_out])
    record = {
        "device": device,
        "spaces": [W12],
        "origin": "fitted",
        "source": f"layer costs fitted to {len(points)} networks of {W12} in {HELP}; error: "
        "networks left out",
        "conditions": _conditions(processor, points[0].batch),
        **_costs(fit_costs(features, latency), ratios),
    }
    yield record
    # The V100 has figures of its own of the other family.
    others = [s for s in SPACES if s != W12 and (device, s) != ("v100", PROXYLESS)]
    yield {**record, "spaces": others, "origin": "estimated", "residual_ratios": []}


def _from_zoo(
    device: str, processor: str, points: Sequence[Point], predictor: Predictor, shape: str
) -> Iterator[dict[str, Any]]:
    own = [p for p in points if p.device == device]
    seen = sorted({p.space for p in own})
    measured = f"{len(own)} networks of {' and '.join(seen)} in the {ZOO}"
    record = {
        "device": device,
        "origin": "estimated",
        "source": f"layer costs shaped like {shape}, fitted to {measured}; error: leave-one-out",
        "conditions": _conditions(processor, own[0].batch),
        **_costs(predictor(points), left_out(points, device, predictor)),
    }
    # The Note10 has its layers there, the V100 is known under other software.
    elsewhere = {NOTE10: [W12], "v100": [s for s in SPACES if s != PROXYLESS]}.get(device, [])
    yield {**record, "spaces": [s for s in seen if s not in elsewhere]}
    if unseen := [s for s in SPACES if s not in {*seen, *elsewhere}]:
        yield {**record, "spaces": unseen, "residual_ratios": []}


def _from_layers(layers: LatencyTable, costs: Costs, points: Sequence[Point]) -> dict[str, Any]:
    space = published_spaces()[layers.space]
    whole = extended(layers, space, table_of_costs(layers, costs))
    own = [p for p in points if (p.device, p.space) == (layers.device, layers.space)]
    summed = np.array([whole.network_ms(layer_plan(space, p.arch)) for p in own])
    return {
        "device": layers.device,
        "spaces": [layers.space],
        "origin": "measured",
        "source": f"{layers.source}; error: sums and {len(own)} networks in the {ZOO}",
        "conditions": _conditions(PHONES[NOTE10], 1),
        **_costs(costs, np.array([p.latency_ms for p in own]) / summed),
    }


def _costs(costs: Costs, ratios: Floats) -> dict[str, Any]:
    drawn = ratios
    if len(ratios) > RATIOS:
        drawn = np.random.default_rng(0).choice(ratios, RATIOS, replace=False)
    return {
        "unit_ms": as_costs(costs.unit_ms_F),
        "overhead_ms": float(f"{costs.overhead_ms:.7g}"),
        "expected_error": round(float(np.abs(1 / ratios - 1).mean()), 5),
        "residual_ratios": np.sort(np.round(drawn, 5)).tolist(),
    }


def _conditions(processor: str, batch: int) -> dict[str, Any]:
    return {
        "runtime": "not stated",
        "precision": "fp32",
        "batch": batch,
        "processor": processor,
    }


def main(arguments: Sequence[str]) -> int:
    """The command."""
    folder = arguments[0] if arguments else os.environ.get("SUBNET_REFERENCE")
    if folder is None:
        raise InputError("expected a folder of published figures, or SUBNET_REFERENCE")
    publish(Path(folder))
    return 0


# -- the files of published figures: their README.md describes the format -----------------------


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The published devices: a table is computed from compact figures for any of their spaces.

`data/shipped.json` holds unit costs (`layer_costs`) for each device; layers that were measured one
by one are in a file of their own. `latency_tables.published.publish` writes both from the published
figures.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from latency_tables.fitting import Costs, Floats, as_vector, layer_features
from latency_tables.published.records import shipped_tables
from latency_tables.table import (
    Conditions,
    LatencyTable,
    LayerLatency,
    at_resolution,
    space_layers,
    table_from_json,
)
from models.layers import LayerSpec
from models.spaces import SearchSpace, layer_plan, published_spaces

LEAST_MS = 1e-6


def measured_file(device: str, space: str) -> str:
    """Name of the file of layers that were measured one by one."""
    return f"{device}@{space}.json.gz"


@lru_cache(maxsize=256)
def shipped_table(folder: Path, device: str, space: str) -> LatencyTable:
    """The table of a device for a space, cached, since the figures never change."""
    record = shipped_tables(folder)[device, space]
    table = LatencyTable(
        device=device,
        space=space,
        origin=record["origin"],
        source=record["source"],
        conditions=Conditions(**record["conditions"]),
        entries=_entries(space, as_vector(record["unit_ms"])),
        network_overhead_ms=record["overhead_ms"],
        expected_error=record["expected_error"],
        residual_ratios=tuple(record["residual_ratios"]),
    )
    path = folder / measured_file(device, space)
    if not path.exists():
        return table
    layers = table_from_json(gzip.decompress(path.read_bytes()))
    return extended(layers, published_spaces()[space], table)


def extended(measured: LatencyTable, space: SearchSpace, model: LatencyTable) -> LatencyTable:
    """A measured table with the resolutions of `space` that it lacks.

    The time of a layer is that at the nearest measured resolution, times the ratio of the two times
    in `model`. All other fields are those of `model`.
    """
    known = measured.covered(space).resolutions
    lacking = tuple(r for r in space.resolutions if r not in known)
    entries = dict(measured.entries)
    for resolution in lacking:
        nearest = min(known, key=lambda r: (abs(r - resolution), r))
        there, here = space.at([nearest]), space.at([resolution])
        for near_arch, arch in zip(there.covering(), here.covering(), strict=True):
            plans = zip(layer_plan(there, near_arch), layer_plan(here, arch), strict=True)
            for near, layer in plans:
                if (key := at_resolution(layer)) not in entries:
                    ratio = model.layer_ms(layer) / model.layer_ms(near)
                    entries[key] = _entry(measured.layer_ms(near) * ratio)
    return replace(model, entries=entries, estimated_resolutions=lacking)


def table_of_costs(like: LatencyTable, costs: Costs) -> LatencyTable:
    """`like`, a table of a published space, with entries from `costs`."""
    return replace(like, entries=_entries(like.space, costs.unit_ms_F))


def _entries(space: str, costs_F: Floats) -> dict[str, LayerLatency]:
    keys, features_LF = _design(space)
    return {key: _entry(ms) for key, ms in zip(keys, (features_LF @ costs_F).tolist(), strict=True)}


def _entry(ms: float) -> LayerLatency:
    ms = max(ms, LEAST_MS)
    return LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0.0, count=1)


@lru_cache
def _design(space: str) -> tuple[tuple[str, ...], Floats]:
    """Keys and features of the different layers of a published space."""
    layers: Mapping[str, LayerSpec] = space_layers(published_spaces()[space])
    return tuple(layers), layer_features(layers.values())

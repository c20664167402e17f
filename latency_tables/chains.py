"""Which chains of layers are timed, and how the latency of each layer follows.

A layer timed alone is not that layer in a network. Alone it pays for starting a run and for
converting its input and output between the runtime's memory layouts: on small images as much
as the layer itself. So each layer is timed behind a *lead*, a cheap 1x1 convolution that
leaves exactly the layer's input, and

    layer_ms = T(lead, layer) - T(lead)

The start of the run cancels in the difference. The conversion at the end of a chain is counted
with a layer and taken off again with the lead of the next layer, so along a network these
terms telescope. What remains is one constant, `network_overhead_ms`: the start of a run, and
what a whole network loses in caches that short chains do not. It is fitted on whole networks.

Shapes: R rounds; each visit of a round gives (p50_ms, mean_ms).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_tables.table import LayerLatency
from models.plan import LayerSpec, layer_plan
from models.space import SearchSpace

Floats = npt.NDArray[np.float64]
Chain = tuple[LayerSpec, ...]

LEAD = "lead"
LEAD_CHANNELS = 8
RESOLUTION_MS = 1e-6
"""Least latency recorded: some layers (pooling) cost less than a timer resolves."""


@dataclass(frozen=True, slots=True)
class LayerChains:
    """Names of the two chains whose difference is one layer."""

    with_layer: str
    without: str


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """Everything to time for a space: chains by name, and the pair for each layer key."""

    chains: Mapping[str, Chain]
    layers: Mapping[str, LayerChains]


def plan_chains(space: SearchSpace) -> ChainPlan:
    """The chains for every layer that networks of `space` can have."""
    chains: dict[str, Chain] = {}
    layers: dict[str, LayerChains] = {}
    idle = LayerSpec(name="idle", kind="pool", in_channels=1, out_channels=1, in_size=1)
    for arch in space.covering():
        for position, layer in enumerate(layer_plan(space, arch)):
            if layer.key in layers:
                continue
            # The first layer reads the image itself; a run of next to nothing is its base.
            base = _lead(layer) if position else idle
            without = f"{base.name}:{base.key}"
            chains.setdefault(without, (base,))
            chains[layer.key] = (base, layer) if position else (layer,)
            layers[layer.key] = LayerChains(layer.key, without)
    return ChainPlan(chains, layers)


def _lead(layer: LayerSpec) -> LayerSpec:
    return LayerSpec(
        name=LEAD,
        kind="conv",
        in_channels=LEAD_CHANNELS,
        out_channels=layer.in_channels,
        in_size=layer.in_size,
        norm=True,
    )


def layer_latency(with_layer: Floats, without: Floats, runs: int) -> LayerLatency:
    """Latency of the layer by which two chains differ.

    Chains are compared within each round, when the machine was in one state.

    Args:
        with_layer: (R, 2) milliseconds.
        without: (R, 2) milliseconds, of the same rounds.
        runs: timed runs of each visit.
    """
    p50_R, mean_R = (with_layer - without).T
    return LayerLatency(
        p50_ms=_recorded(np.median(p50_R)),
        mean_ms=_recorded(mean_R.mean()),
        std_ms=round(float(p50_R.std()), 7),
        count=len(p50_R) * runs,
    )


def _recorded(value_ms: np.floating) -> float:
    return max(round(float(value_ms), 7), RESOLUTION_MS)


def fit_overhead(measured_ms: Floats, layer_sum_ms: Floats) -> float:
    """The constant (>= 0) that makes the mean relative error of predictions least.

    sum |measured - (layer_sum + c)| / measured is a weighted sum of distances, least at the
    median of the differences weighted by 1 / measured.
    """
    difference = measured_ms - layer_sum_ms
    order = np.argsort(difference)
    weight = np.cumsum(1 / measured_ms[order])
    middle = order[np.searchsorted(weight, weight[-1] / 2)]
    return max(round(float(difference[middle]), 7), 0.0)

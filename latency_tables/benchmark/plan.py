"""Which chains of layers are timed, and how the latency of each layer follows.

A layer timed alone is not that layer in a network. Alone it pays for starting a run and for
converting its input and output between the runtime's memory layouts: on small images as much
as the layer itself. So each layer is timed behind a *lead*, a cheap 1x1 convolution that
leaves exactly the layer's input, and

    layer_ms = T(lead, layer) - T(lead)

The start of the run cancels in the difference. The conversion at the end of a chain is counted
with a layer and taken off again with the lead of the next layer, so along a network these
terms telescope.

Run again and again, a chain finds its weights in the nearest caches. In a network they were last
read a whole network ago, and where its weights are more than the cache they come from farther:
on a processor with 2 MB of second-level cache that doubled the time of the late layers. So each
chain is timed twice: run after run (*warm*), and each run after one of a whole network, untimed
(*cold*). How much of either a network is made of depends on the device and is fitted on whole
networks: `latency_tables.benchmark.table_assembly`.

Shapes: R rounds; each visit of a round gives (p50_ms, mean_ms).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.layers import LayerSpec
from models.spaces import SearchSpace, layer_plan

Floats = npt.NDArray[np.float64]
Chain = tuple[LayerSpec, ...]

LEAD = "lead"
LEAD_CHANNELS = 8
COLD = "cold "
"""Before the name of a chain that is timed cold."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What is timed under one name."""

    chain: Chain
    after: Chain | None = None
    """Run once, untimed, before each timed run; None: only the chain itself is run."""


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


def timings(plan: ChainPlan, networks: Mapping[str, Chain]) -> dict[str, Timing]:
    """Everything to time: each chain warm and cold, and whole networks.

    The network that runs before a cold chain has about as many weights as most, and is the fastest
    of those.
    """
    by_weights = sorted(networks.values(), key=lambda n: sum(layer.params for layer in n))
    third = len(by_weights) // 3
    usual = by_weights[third : len(by_weights) - third]
    between = min(usual, key=lambda network: sum(layer.macs for layer in network))
    warm = {name: Timing(chain) for name, chain in {**plan.chains, **networks}.items()}
    cold = {COLD + name: Timing(chain, between) for name, chain in plan.chains.items()}
    return {**warm, **cold}


def _lead(layer: LayerSpec) -> LayerSpec:
    return LayerSpec(
        name=LEAD,
        kind="conv",
        in_channels=LEAD_CHANNELS,
        out_channels=layer.in_channels,
        in_size=layer.in_size,
        norm=True,
    )

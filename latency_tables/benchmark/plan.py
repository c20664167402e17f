"""What a measurement of a space times, and from which two times the latency of a layer follows.

A layer that runs as a model of its own takes longer than in a network: it pays for the start of the
run, and for the conversion of its input and output between the runtime's memory layouts. On small
images these cost as much as the layer. A layer is therefore timed behind a *prefix layer*, a cheap
1x1 convolution whose output has the shape of the layer's input, and

    layer_ms = T(prefix, layer) - T(prefix)

The start of the run cancels in the difference. The conversion at the end of a chain is added with a
layer and subtracted with the prefix of the next layer, so these terms telescope along a network.

A chain that runs again and again finds its weights in the nearest caches. In a network, they were
last read one whole network ago, and may have left the cache: on a processor with 2 MB of
second-level cache this doubled the time of the late layers. Each chain is therefore timed twice:
run after run (*warm*), and each run after an untimed run of a whole network (*cold*). The shares of
warm and cold time in a network depend on the device. They are fitted to the times of whole networks
(`latency_tables.benchmark.table_assembly`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.layers import LayerSpec
from models.spaces import SearchSpace, layer_plan

Chain = tuple[LayerSpec, ...]

# These two are part of the names of timings, which kits and partial files store.
PREFIX = "lead"
"""Name of the prefix layer."""
COLD = "cold "
"""Before the name of a chain that is timed cold."""

PREFIX_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """What is timed under one name."""

    chain: Chain
    after: Chain | None = None
    """Run once, untimed, before each timed run; None: only `chain` is run."""


@dataclass(frozen=True, slots=True)
class ChainPair:
    """Names of the two chains whose times differ by one layer."""

    with_layer: str
    without: str


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """Everything that a measurement of a space times."""

    chains: Mapping[str, Chain]
    """By name."""
    layers: Mapping[str, ChainPair]
    """By the key of the layer."""
    networks: Mapping[str, Chain]
    """By the architecture's JSON text."""

    @property
    def timings(self) -> dict[str, Timing]:
        """By name: each chain warm and cold, and the whole networks.

        The network that runs before a cold chain is the fastest one of the middle third by number
        of weights.
        """
        by_weights = sorted(self.networks.values(), key=lambda n: sum(layer.params for layer in n))
        third = len(by_weights) // 3
        middle = by_weights[third : len(by_weights) - third]
        between = min(middle, key=lambda network: sum(layer.macs for layer in network))
        warm = {name: Timing(chain) for name, chain in {**self.chains, **self.networks}.items()}
        cold = {COLD + name: Timing(chain, between) for name, chain in self.chains.items()}
        return {**warm, **cold}


def plan_benchmark(space: SearchSpace, networks: int, seed: int) -> BenchmarkPlan:
    """What to time for every layer that networks of `space` can have; equal for equal arguments.

    Args:
        networks: how many different whole networks to time at most.
    """
    chains: dict[str, Chain] = {}
    layers: dict[str, ChainPair] = {}
    idle = LayerSpec(name="idle", kind="pool", in_channels=1, out_channels=1, in_size=1)
    for arch in space.covering():
        for position, layer in enumerate(layer_plan(space, arch)):
            if layer.key in layers:
                continue
            # The first layer reads the image itself: a model that does next to nothing is
            # subtracted from it.
            base = _prefix(layer) if position else idle
            without = f"{base.name}:{base.key}"
            chains.setdefault(without, (base,))
            chains[layer.key] = (base, layer) if position else (layer,)
            layers[layer.key] = ChainPair(layer.key, without)
    return BenchmarkPlan(chains, layers, sample_networks(space, networks, seed))


def sample_networks(space: SearchSpace, count: int, seed: int) -> dict[str, Chain]:
    """Up to `count` different random networks of `space`, by their architecture's JSON text."""
    archs = space.decode(space.sample(count, np.random.default_rng(seed)))
    return {json.dumps(arch.to_json()): layer_plan(space, arch) for arch in archs}


def _prefix(layer: LayerSpec) -> LayerSpec:
    return LayerSpec(
        name=PREFIX,
        kind="conv",
        in_channels=PREFIX_CHANNELS,
        out_channels=layer.in_channels,
        in_size=layer.in_size,
        norm=True,
    )

"""What a device times that fetches its models one by one, such as a browser, and its times read.

*Quick*: whole networks, to which a table is fitted. *Thorough*: what a kit times, of which a table
is assembled. The models, their names and the form of the times are those of a kit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from latency_tables.benchmark.kit import FORMAT, read_times
from latency_tables.benchmark.plan import Chain, Timing, plan_benchmark
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.benchmark.runner import Floats
from models.errors import InputError, show_value
from models.spaces import Arch, SearchSpace, layer_plan

QUICK_S, THOROUGH_S = 25.0, 100.0
"""Seconds of rounds. Opening the models comes before them."""
QUICK_VISIT = {"warmup": 1, "runs": 2}
"""Short visits in many rounds: a shared machine changes its speed every few seconds."""
MIN_SAMPLE_MS = 15.0
"""A sample is a loop of runs of at least this length: clocks of browsers are coarse."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RemotePlan:
    """What is timed, by name, with the models by number."""

    space: SearchSpace
    precision: str
    timings: Mapping[str, Timing]
    networks: Mapping[str, Chain]
    """By the architecture's JSON text: those of `timings` that are whole networks."""
    rounds: Mapping[str, Any]
    target_s: float
    chains: tuple[Chain, ...]
    """Models by number."""
    canary: int
    """The model that is timed again in each round to tell whether the device slows down."""

    def model(self, number: int) -> bytes:
        """The ONNX file of a model; equal at every call."""
        from latency_tables.benchmark.models import chain_model, random_tensors  # needs onnx

        return chain_model(self.chains[number], random_tensors, self.precision)

    def input_shape(self, number: int) -> list[int]:
        """Of one image."""
        first = self.chains[number][0]
        return [1, first.in_channels, first.in_size, first.in_size]

    def to_json(self, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The plan as a device reads it.

        Args:
            models: what is said of each, beside the shape of its input.
        """
        number = {chain: index for index, chain in enumerate(self.chains)}
        return {
            "id": self.id,
            "space": self.space.name,
            "precision": self.precision,
            "batch": 1,
            "rounds": dict(self.rounds),
            "timings": {
                name: {
                    "model": number[timing.chain],
                    **({} if timing.after is None else {"after": number[timing.after]}),
                }
                for name, timing in self.timings.items()
            },
            "networks": {
                name: {"macs": sum(layer.macs for layer in network)}
                for name, network in self.networks.items()
            },
            "models": [
                {**said, "input": self.input_shape(index)} for index, said in enumerate(models)
            ],
            "canary": self.canary,
            "target_s": self.target_s,
            "min_sample_ms": MIN_SAMPLE_MS,
        }

    @cached_property
    def id(self) -> str:
        """The hash of what is timed, equal for equal plans."""
        what = [
            self.space.to_json(),
            self.precision,
            dict(self.rounds),
            {name: [_keys(t.chain), _keys(t.after)] for name, t in self.timings.items()},
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def read_times(self, value: object) -> dict[str, Floats]:
        """(R, 2) milliseconds by name: median and mean of each round's visit.

        Raises:
            InputError: naming the place, what was expected there and what was found.
        """
        where = "profile.rounds.times_ms"
        if isinstance(value, Mapping) and (strange := [n for n in value if n not in self.timings]):
            raise InputError(f"{where}: {show_value(strange[0])} is not in the plan")
        return read_times(value, list(self.timings))


def quick_plan(space: SearchSpace, archs: Sequence[Arch], precision: str) -> RemotePlan:
    """Whole networks alone."""
    networks = {json.dumps(arch.to_json()): layer_plan(space, arch) for arch in archs}
    timings = {name: Timing(network) for name, network in networks.items()}
    plan = _plan(space, precision, timings, networks, len(networks), QUICK_S)
    return replace(plan, rounds={**plan.rounds, **QUICK_VISIT})


def thorough_plan(space: SearchSpace, precision: str) -> RemotePlan:
    """What a kit times."""
    usual = MeasureOptions()
    plan = plan_benchmark(space, usual.networks, usual.seed)
    return _plan(space, precision, plan.timings, plan.networks, usual.networks, THOROUGH_S)


def _plan(
    space: SearchSpace,
    precision: str,
    timings: Mapping[str, Timing],
    networks: Mapping[str, Chain],
    count: int,
    target_s: float,
) -> RemotePlan:
    usual = MeasureOptions()
    chains = tuple(
        dict.fromkeys(chain for t in timings.values() for chain in (t.chain, t.after) if chain)
    )
    by_macs = sorted(networks.values(), key=lambda network: sum(layer.macs for layer in network))
    return RemotePlan(
        space=space,
        precision=precision,
        timings=timings,
        networks=networks,
        rounds={
            "format": FORMAT,
            "resolutions": list(space.resolutions),
            "networks": count,
            "warmup": usual.warmup,
            "runs": usual.runs,
            "seed": usual.seed,
        },
        target_s=target_s,
        chains=chains,
        canary=chains.index(by_macs[len(by_macs) // 3]),
    )


def _keys(chain: Chain | None) -> list[str]:
    return [] if chain is None else [layer.key for layer in chain]

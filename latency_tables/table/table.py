"""A latency table: the time of each layer of a space on one device, under stated conditions.

Times are milliseconds of one forward pass of a whole batch.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args

from latency_tables.table.checks import check_name, check_number, check_text
from latency_tables.table.conditions import MAX_COUNT, MAX_MS, Conditions
from latency_tables.table.prediction_bounds import (
    MAX_RATIOS,
    USUAL_CONFIDENCE,
    check_confidence,
    most_confidence,
    networks_for,
    upper_factor,
)
from latency_tables.table.sittings import MAX_SITTINGS, Drift, Sitting, estimate_drift
from models.errors import InputError, NotFound
from models.layers import LayerSpec
from models.spaces import SearchSpace, layer_plan

Origin = Literal["measured", "fitted", "estimated"]
ORIGINS: tuple[Origin, ...] = ("measured", "fitted", "estimated")
MAX_ENTRIES = 50_000
SCHEMA_VERSION = 1
ENTRY_FIELDS = ("p50_ms", "mean_ms", "std_ms", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLatency:
    """Time of one layer, milliseconds.

    Attributes:
        p50_ms: median, which is what predictions add up.
        mean_ms: mean.
        std_ms: standard deviation between repetitions.
        count: timed runs behind these figures.
    """

    p50_ms: float
    mean_ms: float
    std_ms: float
    count: int

    def __post_init__(self) -> None:
        most = MAX_MS
        if 0 < self.p50_ms <= most and 0 < self.mean_ms <= most and 0 <= self.std_ms <= most:
            if 0 < self.count <= MAX_COUNT:
                return  # the usual case first, for speed: tables have thousands of entries
        for name in ("p50_ms", "mean_ms"):
            check_number(getattr(self, name), name, MAX_MS, positive=True)
        check_number(self.std_ms, "std_ms", MAX_MS)
        check_number(self.count, "count", MAX_COUNT, positive=True)


Keys = tuple[str, str]
"""The two keys of a layer's entry: `layer_keys`."""


NoteKind = Literal["unit", "outlier", "order", "trend", "import"]
MAX_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Note:
    """What was odd about the measurements that a table was made of; they are not stored with it."""

    kind: NoteKind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(NoteKind):
            raise InputError(f"kind: expected one of {get_args(NoteKind)}, got {self.kind!r:.60}")
        if not (self.text.isprintable() and 0 < len(self.text) <= MAX_NOTE):
            raise InputError(f"text: expected one line of at most {MAX_NOTE} printable characters")


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """The latency of every layer of a space on one device."""

    device: str
    space: str
    """Name of the search space whose layers these are."""
    origin: Origin
    source: str
    """Who or what measured the figures, in a sentence."""
    conditions: Conditions
    entries: Mapping[str, LayerLatency]
    """By `LayerSpec.key`, or by `at_resolution` if a layer was measured at each resolution."""
    network_overhead_ms: float = 0.0
    """Time of a whole network beyond the sum of its layers."""
    expected_error: float | None = None
    """Mean relative error on whole networks timed on the device; None if none were timed."""
    residual_ratios: tuple[float, ...] = ()
    """Measured over predicted latency of random whole networks, each predicted without itself;
    ascending. Upper bounds follow from them unless enough networks were drawn from the front."""
    sittings: tuple[Sitting, ...] = ()
    """Later sittings than the table's own, in the order of time."""
    estimated_resolutions: tuple[int, ...] = ()
    """Resolutions of a measured table whose entries were estimated from the others."""
    notes: tuple[Note, ...] = ()
    """What was odd about its measurements."""

    def __post_init__(self) -> None:
        check_name(self.device, "device")
        check_name(self.space, "space")
        check_text(self.source, "source")
        if self.origin not in ORIGINS:
            raise InputError(f"origin: expected one of {ORIGINS}, got {self.origin!r}")
        if not 1 <= len(self.entries) <= MAX_ENTRIES:
            raise InputError(
                f"entries: expected 1 to {MAX_ENTRIES} layers, got {len(self.entries)}"
            )
        for key in self.entries:
            check_text(key, "entries: key")
        check_number(self.network_overhead_ms, "network_overhead_ms", MAX_MS)
        if self.expected_error is not None:
            check_number(self.expected_error, "expected_error", MAX_MS)
        if len(self.residual_ratios) > MAX_RATIOS:
            raise InputError(
                f"residual_ratios: expected at most {MAX_RATIOS}, got {len(self.residual_ratios)}"
            )
        for ratio in self.residual_ratios:
            check_number(ratio, "residual_ratios", MAX_MS, positive=True)
        if len(self.sittings) > MAX_SITTINGS:
            raise InputError(f"sittings: expected at most {MAX_SITTINGS}, got {len(self.sittings)}")
        for resolution in self.estimated_resolutions:
            check_number(resolution, "estimated_resolutions", MAX_COUNT, positive=True)
        object.__setattr__(self, "residual_ratios", tuple(sorted(self.residual_ratios)))
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))

    @cached_property
    def sha256(self) -> str:
        """The hash of `table_to_json`, equal for equal tables. It is cached because it would take
        half the time of a request whose answer is stored."""
        return hashlib.sha256(table_to_json(self).encode()).hexdigest()

    @cached_property
    def costs_sha256(self) -> str:
        """The hash of what predictions are made of. It stays the same when a sitting is added."""
        costs = [self.space, self.network_overhead_ms]
        costs += [(key, self.entries[key].p50_ms) for key in sorted(self.entries)]
        return hashlib.sha256(json.dumps(costs).encode()).hexdigest()

    def entry(self, layer: LayerSpec, keys: Keys | None = None) -> LayerLatency | None:
        """The entry of a layer: that at its network's resolution, else that for any resolution.

        Args:
            keys: `layer_keys(layer)`, if the caller has it already.
        """
        by_resolution, key = keys or layer_keys(layer)
        return self.entries.get(by_resolution) or self.entries.get(key)

    def layer_ms(self, layer: LayerSpec, keys: Keys | None = None) -> float:
        """Median time of one layer.

        Args:
            keys: `layer_keys(layer)`, if the caller has it already.

        Raises:
            NotFound: no entry has the layer's key; names the key and the nearest entries.
        """
        entry = self.entry(layer, keys)
        if entry is None:
            near = difflib.get_close_matches(layer.key, self.entries, n=3, cutoff=0)
            raise NotFound(
                f"device {self.device!r} has no latency of layer {layer.name!r} in its table for "
                f"space {self.space!r}: expected an entry {layer.key!r}, nearest are "
                f"{', '.join(near)}; measure that layer and add it"
            )
        return entry.p50_ms

    def network_ms(self, plan: Sequence[LayerSpec]) -> float:
        """Time of a whole network: the overhead and the sum of its layers.

        Raises:
            NotFound: as `layer_ms`.
        """
        return self.network_overhead_ms + sum(self.layer_ms(layer) for layer in plan)

    def upper_factor(self, confidence: float) -> float:
        """The factor from a predicted latency to its upper bound at this nominal confidence.

        Raises:
            InputError: it is not from 0.5 to below 1, or more than the networks measured on the
                device allow.
        """
        check_confidence(confidence)
        return upper_factor(self.bound_ratios(confidence), confidence, self.drift)

    @property
    def usual_confidence(self) -> float | None:
        """0.9, or the largest confidence that a bound can have; None if that is below 0.5."""
        most = most_confidence(len(self.bound_ratios(USUAL_CONFIDENCE)))
        return min(USUAL_CONFIDENCE, most) if most >= 0.5 else None

    @cached_property
    def searched_ratios(self) -> tuple[float, ...]:
        """Measured over predicted latency of networks drawn from the device's front, each without
        the drift of its sitting; ascending."""
        return tuple(sorted(error for sitting in self.sittings for error in sitting.errors))

    def bounded_by_searched(self, confidence: float) -> bool:
        """Whether there are enough networks drawn as searches draw them for such an upper bound."""
        needed = networks_for(max(confidence, USUAL_CONFIDENCE))
        return len(self.searched_ratios) >= needed or not self.residual_ratios

    def bound_ratios(self, confidence: float) -> tuple[float, ...]:
        """The scores that an upper bound follows from, ascending."""
        searched = self.bounded_by_searched(confidence)
        return self.searched_ratios if searched else self.residual_ratios

    @cached_property
    def drift(self) -> Drift | None:
        """Between sittings; None where there are too few to know."""
        return estimate_drift(self.sittings)

    def with_sitting(self, sitting: Sitting) -> LatencyTable:
        """The same table after one more sitting."""
        return replace(self, sittings=(*self.sittings, sitting)[-MAX_SITTINGS:])

    def sittings_before(self, ratio: float) -> tuple[Sitting, ...]:
        """All sittings, its own included, for a table that corrects this one when the device took
        `ratio` times as long. None if this one's own is not of whole networks on the device."""
        if self.origin == "estimated" or not self.residual_ratios:
            return ()
        own = Sitting(
            measured_at=self.conditions.measured_at,
            networks=len(self.residual_ratios),
            ratio=1.0,
        )
        return tuple(s.relative_to(ratio) for s in (own, *self.sittings))[-MAX_SITTINGS:]

    def covered(self, space: SearchSpace) -> SearchSpace:
        """The resolutions of `space` whose first layer the table has; the whole space if it has
        none."""
        first = (plan[0] for plan in covering_plans(space))
        sizes = {layer.resolution for layer in first if self.entry(layer) is not None}
        return space.at(sizes) if sizes else space

    def missing(self, space: SearchSpace) -> list[str]:
        """Keys of layers of `covered(space)` that have no entry, sorted."""
        layers = (layer for plan in covering_plans(self.covered(space)) for layer in plan)
        return sorted({layer.key for layer in layers if self.entry(layer) is None})


def table_to_json(table: LatencyTable) -> str:
    """The text of a table's file, equal for equal tables: entries sorted, one a line."""
    head: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "device": table.device,
        "space": table.space,
        "origin": table.origin,
        "source": table.source,
        "conditions": table.conditions.to_json(),
        "network_overhead_ms": table.network_overhead_ms,
        "expected_error": table.expected_error,
    }
    encode = json.JSONEncoder().encode
    lines = [  # asdict takes three times as long
        f"  {encode(key)}: {encode({name: getattr(entry, name) for name in ENTRY_FIELDS})}"
        for key, entry in sorted(table.entries.items())
    ]
    opening = json.dumps(head, indent=1)[: -len("\n}")]
    optional = {name: getattr(table, name) for name in ("residual_ratios", "estimated_resolutions")}
    optional["notes"] = [asdict(note) for note in table.notes]
    optional["sittings"] = [asdict(sitting) for sitting in table.sittings]
    for field, values in optional.items():
        if values:  # left out if empty, as in files of old versions
            opening += f',\n "{field}": {json.dumps(values)}'
    return f'{opening},\n "entries": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def at_resolution(layer: LayerSpec) -> str:
    """Key of a layer's entry for networks of one resolution."""
    return f"{layer.key}@{layer.resolution}"


@lru_cache(maxsize=1 << 15)
def layer_keys(layer: LayerSpec) -> Keys:
    """Both keys of a layer: at its network's resolution, and at any. Cached, since making the text
    takes longer than finding it."""
    return at_resolution(layer), layer.key


def space_layers(space: SearchSpace) -> dict[str, LayerSpec]:
    """One layer for every different key among all networks of `space`, in network order."""
    layers: dict[str, LayerSpec] = {}
    for plan in covering_plans(space):
        for layer in plan:
            layers.setdefault(layer.key, layer)
    return layers


@lru_cache(maxsize=16)
def covering_plans(space: SearchSpace) -> tuple[tuple[LayerSpec, ...], ...]:
    """The layers of each network of `space.covering()`. Cached: a table is compared with them
    several times, and tables share their space."""
    return tuple(layer_plan(space, arch) for arch in space.covering())

"""What is wrong with a latency table, and what is odd about it; nothing found is no proof.

An error means that answers from the table would be wrong, so it is not taken. A warning means
that they may be.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal

from latency_tables.table.table import LatencyTable, LayerLatency, at_resolution
from models.errors import InputError
from models.layers import LayerSpec, kind_of
from models.spaces import SearchSpace, layer_plan

Kind = Literal["space", "missing", "unit", "order", "spread", "additivity"]

SLOWEST_GMACS = 0.02
"""A microcontroller's best block does several times as many billion operations a second."""
FASTEST_GMACS_A_THREAD = 1_000
"""Several times what a core with matrix instructions can do."""
FASTEST_GMACS, FASTEST_GMACS_BATCHED = 5_000, 100_000
"""Where threads are not stated; an accelerator starts several operators for each block, which
limits it at batch 1."""
LEAST_BLOCK_MS = 0.0005
"""A block is several operators; starting them takes longer on any machine."""

NOISY, TOO_NOISY = 0.25, 3.0
"""Standard deviation as a share of the median: of layers to name; of the whole table, which is
then all noise. A kit on a machine where they varied by 147 % still predicted networks 4 % off."""
ODD_SHARE = 0.5
"""Share of pairs in which the larger layer may be faster."""
ODD_RATIO, ODD_OF_NETWORK = 3.0, 0.1
"""A larger layer that is faster by this factor, and by this share of the smallest network."""
ODD_DEVIATIONS = 3.0
LARGE_ERROR, TOO_LARGE_ERROR = 0.10, 0.25
"""Mean relative error of predicted whole networks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a table."""

    kind: Kind
    is_error: bool
    text: str


class BadTable(InputError):
    """A table that is not taken, with every reason.

    Attributes:
        findings: the errors.
    """

    def __init__(self, table: LatencyTable, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(
            f"the table of device {table.device!r} for space {table.space!r} was not kept: "
            + "; ".join(f.text for f in self.findings)
        )


def check(table: LatencyTable, space: SearchSpace | None) -> tuple[Finding, ...]:
    """`lint`, refusing what has errors; returns the warnings.

    Raises:
        BadTable: with every error.
    """
    findings = lint(table, space)
    if errors := [finding for finding in findings if finding.is_error]:
        raise BadTable(table, errors)
    return findings


def lint(table: LatencyTable, space: SearchSpace | None) -> tuple[Finding, ...]:
    """Everything found.

    Args:
        space: what the table is for; None if that is not known, then less can be said.
    """
    findings = [*_spread(table), *_network_error(table)]
    if space is None:
        text = f"space {table.space!r} is not known here, so layers and units were not checked"
        return (Finding("space", False, text), *findings)
    layers = _layers(table, table.covered(space))
    return (
        *_missing(table, space, layers),
        *_unit(table, layers),
        *_order(table, layers),
        *findings,
    )


def _layers(table: LatencyTable, part: SearchSpace) -> dict[str, LayerSpec]:
    """Each different layer of the part of a space that a table is meant for, by its entry."""
    layers = (layer for arch in part.covering() for layer in layer_plan(part, arch))
    return {_entry_key(table, layer): layer for layer in layers}


def _entry_key(table: LatencyTable, layer: LayerSpec) -> str:
    key = at_resolution(layer)
    return key if key in table.entries else layer.key


def _missing(
    table: LatencyTable, space: SearchSpace, layers: dict[str, LayerSpec]
) -> Iterator[Finding]:
    if missing := table.missing(space):
        text = f"{len(missing)} layers of the space are missing, first {missing[0]}"
        yield Finding("missing", True, text)
    if unknown := sorted(table.entries.keys() - layers.keys()):
        text = f"{len(unknown)} entries are of no layer of the space, first {unknown[0]}"
        yield Finding("missing", False, text)


def _unit(table: LatencyTable, layers: dict[str, LayerSpec]) -> Iterator[Finding]:
    """Microseconds or seconds that were given as milliseconds show in the speed they imply."""
    blocks = [
        (entry.p50_ms, layer.macs * table.conditions.batch / 1e6 / entry.p50_ms)
        for layer in layers.values()
        if kind_of(layer).is_block and (entry := table.entry(layer))
    ]
    if not blocks:
        return
    times_ms, gmacs = zip(*blocks, strict=True)
    threads, batch = table.conditions.threads, table.conditions.batch
    fastest = FASTEST_GMACS if batch == 1 else FASTEST_GMACS_BATCHED
    if threads is not None:
        fastest = FASTEST_GMACS_A_THREAD * threads
    if (best := max(gmacs)) < SLOWEST_GMACS:
        text = f"the fastest block would run at {best:.2g} billion operations a second"
        yield Finding("unit", True, f"{text}: are the times microseconds, not milliseconds?")
    elif (usual := statistics.median(gmacs)) > fastest:
        text = f"the median block would run at {usual:,.0f} billion operations a second"
        yield Finding("unit", True, f"{text}: are the times seconds, not milliseconds?")
    elif (usual_ms := statistics.median(times_ms)) < LEAST_BLOCK_MS:
        text = f"the median block would take {usual_ms * 1e6:.2g} ns"
        yield Finding("unit", True, f"{text}: are the times seconds, not milliseconds?")


def _order(table: LatencyTable, layers: dict[str, LayerSpec]) -> Iterator[Finding]:
    """Layers that do more than others that are else the same, and are faster."""
    found = [layer for layer in layers.values() if table.entry(layer)]
    total_ms = sum(_entry(table, layer).p50_ms for layer in found)
    for what, alike in (("kernel", _but_kernel), ("expansion", _but_expansion)):
        groups: dict[LayerSpec, list[LayerSpec]] = {}
        for layer in found:
            if kind_of(layer).is_block:
                groups.setdefault(alike(layer), []).append(layer)
        pairs = [
            (_entry(table, less), _entry(table, more), more)
            for group in groups.values()
            for less, more in itertools.pairwise(sorted(group, key=attrgetter("macs")))
        ]
        yield from _odd_pairs(what, pairs, _smallest_ms(total_ms, len(found)))


def _smallest_ms(total_ms: float, layers: int) -> float:
    """About what a network of a dozen mean layers takes."""
    return 12 * total_ms / max(layers, 1)


def _odd_pairs(
    what: str, pairs: list[tuple[LayerLatency, LayerLatency, LayerSpec]], network_ms: float
) -> Iterator[Finding]:
    odd = [
        (less, more, layer)
        for less, more, layer in pairs
        if more.p50_ms + more.std_ms < less.p50_ms - less.std_ms
    ]
    if not odd:
        return
    gross = [
        layer
        for less, more, layer in odd
        if more.p50_ms * ODD_RATIO < less.p50_ms
        and less.p50_ms - more.p50_ms
        > max(ODD_DEVIATIONS * (more.std_ms + less.std_ms), ODD_OF_NETWORK * network_ms)
    ]
    text = f"{len(odd)} of {len(pairs)} times a larger {what} is faster by more than the noise"
    if len(odd) > ODD_SHARE * len(pairs):
        yield Finding("order", True, f"{text}: are the layers mixed up?")
    elif gross:
        text += f", {len(gross)} times by a factor of {ODD_RATIO:g}, first {gross[0].key}"
        yield Finding("order", True, text)
    else:
        yield Finding("order", False, f"{text}, first {odd[0][2].key}")


def _but_kernel(layer: LayerSpec) -> LayerSpec:
    return replace(layer, name="", kernel=1)


def _but_expansion(layer: LayerSpec) -> LayerSpec:
    return replace(layer, name="", mid_channels=0, se_channels=min(layer.se_channels, 1))


def _entry(table: LatencyTable, layer: LayerSpec) -> LayerLatency:
    entry = table.entry(layer)
    assert entry is not None  # only layers that have one are looked at
    return entry


def _spread(table: LatencyTable) -> Iterator[Finding]:
    entries = table.entries
    noisy = [key for key, e in sorted(entries.items()) if e.std_ms > NOISY * e.p50_ms]
    share = sum(e.std_ms for e in entries.values()) / sum(e.p50_ms for e in entries.values())
    if share > TOO_NOISY:
        text = f"the times vary by {share:.0%} between repetitions: measure on a quiet machine"
        yield Finding("spread", True, text)
    elif noisy:
        text = (
            f"{len(noisy)} of {len(entries)} layers vary by more than {NOISY:.0%} between "
            f"repetitions (all together by {share:.0%}), first {noisy[0]}"
        )
        yield Finding("spread", False, text)


def _network_error(table: LatencyTable) -> Iterator[Finding]:
    error = table.expected_error
    if error is None:
        yield Finding("additivity", False, "no whole network was timed, so its error is unknown")
    elif error > LARGE_ERROR:
        text = f"whole networks are predicted {error:.0%} off on average"
        if error > TOO_LARGE_ERROR:
            text += f", more than {TOO_LARGE_ERROR:.0%}: the layers do not add up to networks"
        yield Finding("additivity", error > TOO_LARGE_ERROR, text)

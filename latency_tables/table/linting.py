"""Errors and warnings about a latency table. A table without any may still be wrong.

An error means that answers from the table would be wrong; such a table is refused. A warning means
that they may be wrong.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from operator import attrgetter, itemgetter

from latency_tables.table.findings import Finding
from latency_tables.table.plausibility import check_bound, check_networks
from latency_tables.table.sittings import LEAST_SITTINGS
from latency_tables.table.table import LatencyTable, LayerLatency, covering_plans, layer_keys
from models.errors import InputError
from models.layers import LayerSpec, kind_of
from models.spaces import SearchSpace

SLOWEST_GMACS = 0.02
"""Billion operations a second: the best block of a microcontroller is several times as fast."""
FASTEST_GMACS_A_THREAD = 1_000
"""Billion operations a second: several times the speed of a core with matrix instructions."""
FASTEST_GMACS, FASTEST_GMACS_BATCHED = 5_000, 100_000
"""Billion operations a second, if threads are not stated. At batch 1, an accelerator is limited by
the time to start a block's operators."""
LEAST_BLOCK_MS = 0.0005
"""To start the operators of a block takes longer on any machine."""

NOISY, TOO_NOISY = 0.25, 3.0
"""Standard deviation as a share of the median: of a layer, for a warning; of the whole table, for
an error. A table whose layers varied by 147 % still predicted networks with an error of 4 %."""
ODD_SHARE = 0.5
"""Largest share of pairs in which the larger layer may be faster."""
ODD_RATIO, ODD_OF_NETWORK = 3.0, 0.1
"""It is an error if a larger layer is faster by this factor, and by this share of a small
network."""
ODD_DEVIATIONS = 3.0
"""And by this many standard deviations of both layers together."""
LARGE_ERROR, TOO_LARGE_ERROR = 0.10, 0.25
"""Mean relative error of whole networks: for a warning, for an error."""


CERTAIN = ("", "CPUExecutionProvider")
"""Providers of ONNX Runtime that leave no node to another; none is its CPU's."""


class BadTable(InputError):
    """A table is refused; the message has every reason.

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
    """The warnings of `lint`.

    Raises:
        BadTable: there are errors.
    """
    findings = lint(table, space)
    if errors := [finding for finding in findings if finding.is_error]:
        raise BadTable(table, errors)
    return findings


def lint(table: LatencyTable, space: SearchSpace | None) -> tuple[Finding, ...]:
    """Every error and warning.

    Args:
        space: the table's; None if it is not known, which leaves out most checks.
    """
    findings = [
        *(Finding(note.kind, False, note.text) for note in table.notes),
        *_spread(table),
        *_network_error(table),
        *check_bound(table),
        *_provider(table),
        *_drift(table),
    ]
    if space is None:
        text = f"space {table.space!r} is not known here, so layers and units were not checked"
        return (Finding("space", False, text), *findings)
    part = table.covered(space)
    layers = _layers(table, part)
    missing = sorted(layers.keys() - table.entries.keys())
    unit = tuple(_unit(table, layers))
    networks = () if missing else tuple(check_networks(table, part))
    if unit:  # an impossible unit says it all
        networks = tuple(finding for finding in networks if finding.kind != "unit")
    gaps = _gaps(table, missing, layers)
    return (*gaps, *unit, *_order(table, layers), *networks, *findings)


def _layers(table: LatencyTable, part: SearchSpace) -> dict[str, LayerSpec]:
    """Each different layer of `part`, by the key of its entry."""
    layers = (layer for plan in covering_plans(part) for layer in plan)
    return {_entry_key(table, layer): layer for layer in layers}


def _entry_key(table: LatencyTable, layer: LayerSpec) -> str:
    by_resolution, key = layer_keys(layer)
    return by_resolution if by_resolution in table.entries else key


def _gaps(
    table: LatencyTable, missing: list[str], layers: dict[str, LayerSpec]
) -> Iterator[Finding]:
    if missing:
        text = f"{len(missing)} layers of the space are missing, first {missing[0]}"
        yield Finding("missing", True, text)
    if unknown := sorted(table.entries.keys() - layers.keys()):
        text = f"{len(unknown)} entries are of no layer of the space, first {unknown[0]}"
        yield Finding("missing", False, text)


def _unit(table: LatencyTable, layers: dict[str, LayerSpec]) -> Iterator[Finding]:
    """Times in microseconds or seconds imply an impossible speed."""
    blocks = [
        (entry.p50_ms, layer.macs * table.conditions.batch / 1e6 / entry.p50_ms)
        for key, layer in layers.items()
        if kind_of(layer).is_block and (entry := table.entries.get(key))
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
    """Layers that are faster than smaller ones which otherwise equal them."""
    entries = table.entries
    timed = [(layer, entries[key]) for key, layer in layers.items() if key in entries]
    network_ms = _small_network_ms(sum(entry.p50_ms for _, entry in timed), len(timed))
    blocks = [(layer.macs, layer, entry) for layer, entry in timed if kind_of(layer).is_block]
    for what, alike in (
        ("kernel", _without_kernel),
        ("expansion", _without_expansion),
        ("input size", _without_size),
    ):
        groups: dict[tuple[object, ...], list[tuple[int, LayerSpec, LayerLatency]]] = {}
        for block in blocks:
            groups.setdefault(alike(block[1]), []).append(block)
        pairs = [
            (entry, larger_entry, larger)
            for group in groups.values()
            for (macs, _, entry), (more, larger, larger_entry) in itertools.pairwise(
                sorted(group, key=itemgetter(0))
            )
            if macs < more  # two resolutions may have one layer
        ]
        yield from _odd_pairs(what, pairs, network_ms)


def _small_network_ms(total_ms: float, layers: int) -> float:
    """The time of twelve layers of mean time."""
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


def _without(*names: str) -> Callable[[LayerSpec], tuple[object, ...]]:
    """All that a layer has but these and its name."""
    return attrgetter(*(f.name for f in fields(LayerSpec) if f.name not in ("name", *names)))


_without_kernel = _without("kernel")
_without_size = _without("in_size", "resolution")
_but_channels = _without("mid_channels", "se_channels")


def _without_expansion(layer: LayerSpec) -> tuple[object, ...]:
    return (*_but_channels(layer), layer.se_channels > 0)


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


def _provider(table: LatencyTable) -> Iterator[Finding]:
    """Whether what was asked to run the networks is what ran them."""
    conditions = table.conditions
    asked = (conditions.provider or "").partition(":")[0]
    if conditions.ran_on is not None and asked and conditions.ran_on != asked:
        text = f"{asked} was asked to run the networks, {conditions.ran_on} ran them or a part"
        yield Finding("provider", True, f"{text}: measure with the provider that runs them")
    elif conditions.ran_on is None and conditions.runtime == "onnxruntime" and asked not in CERTAIN:
        text = f"nothing says that {asked} ran the networks: ONNX Runtime runs on the CPU what it"
        yield Finding("provider", False, f"{text} cannot run elsewhere; measure again to know")


def _drift(table: LatencyTable) -> Iterator[Finding]:
    if table.usual_confidence is not None and table.drift is None:
        sittings = 1 + len(table.sittings)
        text = (
            f"measured in {sittings} sitting{'s' if sittings > 1 else ''}, so how its speed drifts "
            f"between sittings is unknown, and upper bounds leave it out: "
            f"`subnet-search devices check` adds a sitting, {LEAST_SITTINGS} are enough"
        )
        yield Finding("drift", False, text)

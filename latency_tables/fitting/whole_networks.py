"""Whole networks and their times on a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_tables.fitting.layer_costs import Floats
from latency_tables.table import MAX_MS
from models.errors import InputError, InvalidDocument, show_value
from models.spaces import Arch, ArchReader, SearchSpace

MAX_NETWORKS = 100_000
UNEQUAL = 3.0
"""Factor between a time and the median of its network's times that is named."""
_REQUIRED = ("arch", "latency_ms")


@dataclass(frozen=True, slots=True, eq=False)
class WholeNetworks:
    """Different networks and the time of each, milliseconds of one batch, (N,)."""

    archs: tuple[Arch, ...]
    latency_ms_N: Floats
    entries: tuple[int, ...] = ()
    """Where in the document each network is first."""
    unequal: tuple[str, ...] = ()
    """Times of one network that differ by more than `UNEQUAL`, each with its entry."""
    ignored: tuple[str, ...] = ()
    """What was left out of the architectures."""

    def entry(self, n: int) -> int:
        """Where in the document the network is."""
        return self.entries[n] if self.entries else n

    @classmethod
    def from_json(
        cls,
        value: object,
        space: SearchSpace,
        *,
        batch: int | None = None,
        runtime: str | None = None,
    ) -> WholeNetworks:
        """Read `{"arch": [...], "latency_ms": [...]}`, optionally with "batch" and "runtime".

        A repeated network counts once, with the median of its times.

        Args:
            batch, runtime: those of the profile; the document's, if stated, must equal them.

        Raises:
            InputError: naming the place, what was expected there and what was found.
        """
        fields = _checked(value)
        archs, latencies = fields["arch"], fields["latency_ms"]
        if not (isinstance(archs, list) and isinstance(latencies, list)):
            raise InputError("measurements: expected lists arch and latency_ms")
        if len(archs) != len(latencies):
            raise InputError(
                f"measurements: expected as many latency_ms as arch, got {len(latencies)} and "
                f"{len(archs)}"
            )
        if not 1 <= len(archs) <= MAX_NETWORKS:
            raise InputError(
                f"measurements: expected 1 to {MAX_NETWORKS} networks, got {len(archs)}"
            )
        _check_stated(fields, batch, runtime)
        reader = ArchReader(space)
        times: dict[Arch, list[tuple[float, int]]] = {}
        for index, (item, latency) in enumerate(zip(archs, latencies, strict=True)):
            try:
                arch = reader(item)
            except InvalidDocument as error:
                raise error.within("measurements", "arch", index) from error
            if not _is_time(latency):
                raise InvalidDocument.at(
                    "measurements",
                    ("latency_ms", index),
                    f"expected a number above 0, at most {MAX_MS:g}, got {show_value(latency)}",
                )
            times.setdefault(arch, []).append((float(latency), index))
        medians = [float(np.median([ms for ms, _ in own])) for own in times.values()]
        entries = tuple(own[0][1] for own in times.values())
        unequal = _unequal(times.values(), medians)
        return cls(tuple(times), np.array(medians), entries, unequal, tuple(reader.warnings))


def _check_stated(fields: Mapping[str, Any], batch: int | None, runtime: str | None) -> None:
    """Whether the document's batch and runtime, if it states them, are those of the device."""
    stated = fields.get("batch", batch)
    if isinstance(stated, bool) or not (stated is None or isinstance(stated, int)):
        raise InputError(f"measurements.batch: expected an integer, got {stated!r}")
    if batch is not None and stated != batch:
        raise InputError(f"measurements.batch: expected {batch} as in the profile, got {stated}")
    ran = fields.get("runtime", runtime)
    if runtime is not None and ran != runtime:
        raise InputError(
            f"measurements.runtime: expected {runtime!r}, which the device is measured with, "
            f"got {show_value(ran)}: times of one runtime say nothing about another; fit them "
            "as a device of its own"
        )


def _unequal(
    times: Iterable[Sequence[tuple[float, int]]], medians: Iterable[float]
) -> tuple[str, ...]:
    return tuple(
        f"entry {index}: {ms:g} ms, where the same network takes {median:g} ms by the median of "
        f"its {len(own)} times"
        for own, median in zip(times, medians, strict=True)
        for ms, index in own
        if not median / UNEQUAL <= ms <= median * UNEQUAL
    )


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= MAX_MS  # false for NaN too


def _checked(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(
            f"measurements: expected an object with {_REQUIRED}, got {type(value).__name__}"
        )
    if missing := [name for name in _REQUIRED if name not in value]:
        raise InputError(f"measurements: field {missing[0]!r} is missing; expected {_REQUIRED}")
    known = (*_REQUIRED, "batch", "runtime")
    if unknown := sorted(set(map(str, value)) - set(known)):
        raise InputError(f"measurements: unknown field {unknown[0][:80]!r}; expected {known}")
    return value

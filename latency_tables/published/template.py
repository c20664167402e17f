"""Tables as CSV: the layers of a space to fill in, and a table that is known."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from latency_tables.published.matching import LayerIndex
from latency_tables.table import ENTRY_FIELDS, LatencyTable
from models.spaces import SearchSpace


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One layer of a space. Sizes are pixels."""

    key: str
    layer: str
    """Its name in the first network that has it."""
    kind: str
    resolutions: tuple[int, ...]
    """Of the networks that have it."""
    in_size: int
    in_channels: int
    out_size: int
    out_channels: int
    mid_channels: int
    kernel: int
    stride: int
    se_channels: int
    act: str
    skip: int


def key_rows(space: SearchSpace) -> list[KeyRow]:
    """Every different layer among all networks of a space, in network order."""
    return [
        KeyRow(
            key=key,
            layer=layer.name,
            kind=layer.kind,
            resolutions=tuple(sorted(known.resolutions)),
            in_size=layer.in_size,
            in_channels=layer.in_channels,
            out_size=layer.out_size,
            out_channels=layer.out_channels,
            mid_channels=layer.mid_channels,
            kernel=layer.kernel,
            stride=layer.stride,
            se_channels=layer.se_channels,
            act=layer.act or "none",
            skip=int(layer.skip),
        )
        for key, known in LayerIndex(space).known.items()
        for layer in [known.layer]
    ]


def keys_csv(rows: Sequence[KeyRow]) -> str:
    """These layers as CSV with an empty column `latency_ms`, which import reads once it is filled.

    Times may be stated for one resolution: repeat a row and write `KEY@RESOLUTION`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*KeyRow.__dataclass_fields__, "latency_ms"])
    for row in rows:
        cells = asdict(row) | {"resolutions": " ".join(map(str, row.resolutions))}
        writer.writerow([*cells.values(), ""])
    return out.getvalue()


def table_csv(table: LatencyTable) -> str:
    """The entries of a table as CSV, which import reads: `p50_ms` is what it takes as the time."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["key", *ENTRY_FIELDS])
    for key, entry in sorted(table.entries.items()):
        writer.writerow([key, *(getattr(entry, name) for name in ENTRY_FIELDS)])
    return out.getvalue()

"""A latency table from JSON, read strictly.

Unknown, missing and repeated fields, wrong types, NaN and numbers out of range are all
refused, with the place and what was expected there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from latency_tables.table.conditions import CONDITION_TEXTS, Conditions
from latency_tables.table.sittings import Sitting
from latency_tables.table.strict_json import (
    expect_integer,
    expect_list,
    expect_number,
    expect_numbers,
    expect_object,
    expect_text,
    expect_truth,
    load_strict,
)
from latency_tables.table.table import (
    ENTRY_FIELDS,
    MAX_ENTRIES,
    SCHEMA_VERSION,
    LatencyTable,
    LayerLatency,
    Note,
)
from models.errors import InputError

T = TypeVar("T")

_TABLE = ("schema_version", "device", "space", "origin", "source", "conditions", "entries")
_TABLE_OPTIONAL = (
    "network_overhead_ms",
    "expected_error",
    "residual_ratios",
    "estimated_resolutions",
    "notes",
    "sittings",
)
_SITTING = ("measured_at", "networks", "ratio")
CONDITIONS_REQUIRED = ("runtime", "precision", "batch")
_CONDITION_NUMBERS = ("power_w", "first_session_ms", "first_run_ms", "session_ms", "run_ms")
CONDITIONS_OPTIONAL = (
    *CONDITION_TEXTS,
    *_CONDITION_NUMBERS,
    *("threads", "cross_origin_isolated"),
)


def table_from_json(content: str | bytes) -> LatencyTable:
    """Read a table's file.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    value = expect_object(load_strict(content), "table", _TABLE, _TABLE_OPTIONAL)
    if value["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"table.schema_version: expected {SCHEMA_VERSION}, got {value['schema_version']!r}; "
            "a newer version of this program may read it"
        )
    conditions = expect_object(
        value["conditions"], "table.conditions", CONDITIONS_REQUIRED, CONDITIONS_OPTIONAL
    )
    return parse_table(
        "table",
        device=expect_text(value["device"], "table.device"),
        origin=expect_text(value["origin"], "table.origin"),
        source=expect_text(value["source"], "table.source"),
        conditions=parse_conditions(conditions, "table.conditions"),
        entries=parse_entries(value["entries"], "table.entries", required=ENTRY_FIELDS),
        fields=value,
    )


def parse_table(
    where: str,
    *,
    device: str,
    origin: str,
    source: str,
    conditions: Conditions,
    entries: Mapping[str, LayerLatency],
    fields: Mapping[str, Any],
) -> LatencyTable:
    overhead = fields.get("network_overhead_ms", 0.0)
    error = fields.get("expected_error")
    return _placed(
        where,
        lambda: LatencyTable(
            device=device,
            space=expect_text(fields["space"], "space"),
            origin=cast(Any, origin),  # the table itself checks it
            source=source,
            conditions=conditions,
            entries=entries,
            network_overhead_ms=expect_number(overhead, "network_overhead_ms"),
            expected_error=None if error is None else expect_number(error, "expected_error"),
            residual_ratios=expect_numbers(fields.get("residual_ratios"), "residual_ratios"),
            notes=_notes(fields.get("notes", [])),
            sittings=_sittings(fields.get("sittings", [])),
            estimated_resolutions=tuple(
                expect_integer(item, "estimated_resolutions")
                for item in expect_list(
                    fields.get("estimated_resolutions", []), "estimated_resolutions"
                )
            ),
        ),
    )


def _notes(value: object) -> tuple[Note, ...]:
    return tuple(
        _note(item, f"notes[{index}]") for index, item in enumerate(expect_list(value, "notes"))
    )


def _note(value: object, where: str) -> Note:
    fields = expect_object(value, where, ("kind", "text"))
    texts = {name: expect_text(fields[name], f"{where}.{name}") for name in fields}
    return _placed(where, lambda: Note(cast(Any, texts["kind"]), texts["text"]))


def _sittings(value: object) -> tuple[Sitting, ...]:
    items = expect_list(value, "sittings")
    return tuple(_sitting(item, f"sittings[{index}]") for index, item in enumerate(items))


def _sitting(value: object, where: str) -> Sitting:
    fields = expect_object(value, where, _SITTING, ("searched_ratios",))
    measured_at = fields["measured_at"]
    return _placed(
        where,
        lambda: Sitting(
            measured_at=None if measured_at is None else expect_text(measured_at, "measured_at"),
            networks=expect_integer(fields["networks"], "networks"),
            ratio=expect_number(fields["ratio"], "ratio"),
            searched_ratios=expect_numbers(fields.get("searched_ratios"), "searched_ratios"),
        ),
    )


def parse_conditions(value: Mapping[str, Any], where: str) -> Conditions:
    known = {name: value[name] for name in value if value[name] is not None}
    fields: dict[str, Any] = {}
    for names, expect in (
        (CONDITION_TEXTS, expect_text),
        (_CONDITION_NUMBERS, expect_number),
        (("threads",), expect_integer),
        (("cross_origin_isolated",), expect_truth),
    ):
        fields |= {n: expect(known[n], f"{where}.{n}") for n in names if n in known}
    return _placed(
        where,
        lambda: Conditions(
            runtime=expect_text(value["runtime"], "runtime"),
            precision=cast(Any, expect_text(value["precision"], "precision")),
            batch=expect_integer(value["batch"], "batch"),
            **fields,
        ),
    )


def parse_entries(value: object, where: str, *, required: Sequence[str]) -> dict[str, LayerLatency]:
    optional = tuple(field for field in ENTRY_FIELDS if field not in required)
    if isinstance(value, Mapping) and len(value) > MAX_ENTRIES:  # before reading each
        raise InputError(f"{where}: expected at most {MAX_ENTRIES} layers, got {len(value)}")
    return {
        key: _entry(
            expect_object(entry, f"{where}[{key!r}]", required, optional), f"{where}[{key!r}]"
        )
        for key, entry in expect_object(value, where).items()
    }


def _entry(value: Mapping[str, Any], where: str) -> LayerLatency:
    p50_ms = expect_number(value["p50_ms"], f"{where}.p50_ms")
    return _placed(
        where,
        lambda: LayerLatency(
            p50_ms=p50_ms,
            mean_ms=expect_number(value.get("mean_ms", p50_ms), "mean_ms"),
            std_ms=expect_number(value.get("std_ms", 0.0), "std_ms"),
            count=expect_integer(value.get("count", 1), "count"),
        ),
    )


def _placed(where: str, make: Callable[[], T]) -> T:
    """`make()`, its complaints preceded by where in the document they apply."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{where}.{error}") from error

"""Latency tables and posted device profiles as JSON, read strictly.

Unknown, missing and repeated fields, wrong types, NaN and numbers out of range are all
refused, with the place and what was expected there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

from latency_tables.fitting import WholeNetworks, fit_table
from latency_tables.table.table import (
    MAX_ENTRIES,
    Conditions,
    LatencyTable,
    LayerLatency,
    check_name,
    check_text,
)
from models.errors import InputError, NotFound
from models.spaces import SearchSpace, published_spaces

SCHEMA_VERSION = 1
T = TypeVar("T")

_TABLE = ("schema_version", "device", "space", "origin", "source", "conditions", "entries")
_TABLE_OPTIONAL = (
    "network_overhead_ms",
    "expected_error",
    "residual_ratios",
    "estimated_resolutions",
)
_CONDITIONS = ("runtime", "precision", "batch")
_CONDITIONS_OPTIONAL = (
    "runtime_version",
    "provider",
    "threads",
    "processor",
    "measured_at",
    "power_w",
)
_ENTRY = ("p50_ms", "mean_ms", "std_ms", "count")
_PROFILE = ("name", "runtime", "precision", "batch", "conditions", "space")
_PROFILE_TABLE = ("network_overhead_ms", "expected_error", "residual_ratios")
_PROFILE_OPTIONAL = ("source", *_PROFILE_TABLE)
_FORMS = ("table", "measurements", "donor")


def table_to_json(table: LatencyTable) -> str:
    """The text of a table's file: sorted, one entry a line, equal for equal tables."""
    head: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "device": table.device,
        "space": table.space,
        "origin": table.origin,
        "source": table.source,
        "conditions": asdict(table.conditions),
        "network_overhead_ms": table.network_overhead_ms,
        "expected_error": table.expected_error,
    }
    encode = json.JSONEncoder().encode
    lines = [  # asdict takes three times as long
        f"  {encode(key)}: {encode({name: getattr(entry, name) for name in _ENTRY})}"
        for key, entry in sorted(table.entries.items())
    ]
    opening = json.dumps(head, indent=1)[: -len("\n}")]
    for field in ("residual_ratios", "estimated_resolutions"):
        if values := getattr(table, field):  # a file without them reads as it always did
            opening += f',\n "{field}": {json.dumps(values)}'
    return f'{opening},\n "entries": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def table_from_json(content: str | bytes) -> LatencyTable:
    """Read a table's file.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    value = _object(_strict_json(content), "table", _TABLE, _TABLE_OPTIONAL)
    if value["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"table.schema_version: expected {SCHEMA_VERSION}, got {value['schema_version']!r}; "
            "a newer version of this program may read it"
        )
    conditions = _object(value["conditions"], "table.conditions", _CONDITIONS, _CONDITIONS_OPTIONAL)
    return _table(
        "table",
        device=_text(value["device"], "table.device"),
        origin=_text(value["origin"], "table.origin"),
        source=_text(value["source"], "table.source"),
        conditions=_conditions(conditions, "table.conditions"),
        entries=_entries(value["entries"], "table.entries", required=_ENTRY),
        fields=value,
    )


Spaces = Callable[[], Mapping[str, SearchSpace]]
DonorOf = Callable[[str, str, str], LatencyTable]
"""The table of a device, for a space, at a precision."""


def no_donor(device: str, space: str, precision: str) -> LatencyTable:
    """Where no other device is known.

    Raises:
        NotFound: always.
    """
    raise NotFound(f"donor {device!r}: no other device is known here")


def parse_profile(
    value: object, spaces: Spaces = published_spaces, donor_of: DonorOf = no_donor
) -> LatencyTable:
    """Read a device profile that a user posts.

    `{"name", "runtime", "precision", "batch", "conditions", "space"}`, optionally "source", and one
    of these:

    * "table", which maps each layer's key to `{"p50_ms"}` with optional "mean_ms", "std_ms" and
      "count"; with it optionally "network_overhead_ms", "expected_error" and "residual_ratios".
      The numbers count as measured, by the user.
    * "measurements" of whole networks, `{"arch": [...], "latency_ms": [...]}`, to which a table is
      fitted (`latency_tables.fitting.fit`); optionally near the table of a "donor", another device.

    Args:
        spaces: known spaces by name; only asked where there are measurements.
        donor_of: the donor's table.

    Raises:
        InputError: naming the place, what was expected there and what was found.
        NotFound: if the donor or its table is not known.
    """
    profile = _object(value, "profile", _PROFILE, (*_PROFILE_OPTIONAL, *_FORMS))
    forms = tuple(form for form in _FORMS if form in profile)
    if forms == ("table",):
        return _profile_with_table(profile)
    if forms in (("measurements",), ("measurements", "donor")):
        return _profile_with_networks(profile, spaces(), donor_of)
    raise InputError(
        "profile: expected one of 'table', 'measurements', or 'donor' with 'measurements', "
        f"got {list(forms)}"
    )


def _profile_with_networks(
    profile: Mapping[str, Any], spaces: Mapping[str, SearchSpace], donor_of: DonorOf
) -> LatencyTable:
    if told := [name for name in _PROFILE_TABLE if name in profile]:
        raise InputError(
            f"profile.{told[0]}: expected it with a 'table' only; it is computed from measurements"
        )
    device, conditions, source = _profile_head(profile)
    if (space := spaces.get(_text(profile["space"], "profile.space"))) is None:
        raise InputError(
            f"profile.space: whole networks need a known space, expected one of "
            f"{', '.join(sorted(spaces))}, got {profile['space'][:80]!r}"
        )
    measured = WholeNetworks.from_json(profile["measurements"], space, batch=conditions.batch)
    donor = None
    if "donor" in profile:
        name = _text(profile["donor"], "profile.donor")
        donor = donor_of(name, space.name, conditions.precision)
    return fit_table(
        space, measured, device=device, conditions=conditions, source=source, donor=donor
    )


def parse_head(value: object, form: str) -> tuple[Mapping[str, Any], Conditions]:
    """The fields of a profile of one form that every form has, checked, and its conditions.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    profile = _object(value, "profile", (*_PROFILE, form), ())
    check_name(_text(profile["name"], "profile.name"), "profile.name")
    check_name(_text(profile["space"], "profile.space"), "profile.space")
    return profile, _profile_conditions(profile)


def _profile_conditions(profile: Mapping[str, Any]) -> Conditions:
    others = _object(profile["conditions"], "profile.conditions", (), _CONDITIONS_OPTIONAL)
    conditions = {**others, **{field: profile[field] for field in _CONDITIONS}}
    return _conditions(conditions, "profile.conditions")


def _profile_with_table(profile: Mapping[str, Any]) -> LatencyTable:
    device, conditions, source = _profile_head(profile)
    return _table(
        "profile",
        device=device,
        origin="measured",
        source=source,
        conditions=conditions,
        entries=_entries(profile["table"], "profile.table", required=("p50_ms",)),
        fields=profile,
    )


def _profile_head(profile: Mapping[str, Any]) -> tuple[str, Conditions, str]:
    """Name, conditions and source."""
    device = _text(profile["name"], "profile.name")
    check_name(device, "profile.name")
    source = _text(profile.get("source", "posted by the user"), "profile.source")
    check_text(source, "profile.source")
    return device, _profile_conditions(profile), source


# -- parts ---------------------------------------------------------------------------------


def _table(
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
            space=_text(fields["space"], "space"),
            origin=cast(Any, origin),  # the table itself checks it
            source=source,
            conditions=conditions,
            entries=entries,
            network_overhead_ms=_number(overhead, "network_overhead_ms"),
            expected_error=None if error is None else _number(error, "expected_error"),
            residual_ratios=_numbers(fields.get("residual_ratios"), "residual_ratios"),
            estimated_resolutions=tuple(
                _integer(item, "estimated_resolutions")
                for item in _list(fields.get("estimated_resolutions", []), "estimated_resolutions")
            ),
        ),
    )


def _conditions(value: Mapping[str, Any], where: str) -> Conditions:
    texts = {
        field: None if value.get(field) is None else _text(value[field], f"{where}.{field}")
        for field in ("runtime_version", "provider", "processor", "measured_at")
    }
    threads, power_w = value.get("threads"), value.get("power_w")
    return _placed(
        where,
        lambda: Conditions(
            runtime=_text(value["runtime"], "runtime"),
            precision=cast(Any, _text(value["precision"], "precision")),
            batch=_integer(value["batch"], "batch"),
            threads=None if threads is None else _integer(threads, "threads"),
            power_w=None if power_w is None else _number(power_w, "power_w"),
            **texts,
        ),
    )


def _entries(value: object, where: str, *, required: Sequence[str]) -> dict[str, LayerLatency]:
    optional = tuple(field for field in _ENTRY if field not in required)
    if isinstance(value, Mapping) and len(value) > MAX_ENTRIES:  # before reading each
        raise InputError(f"{where}: expected at most {MAX_ENTRIES} layers, got {len(value)}")
    return {
        key: _entry(_object(entry, f"{where}[{key!r}]", required, optional), f"{where}[{key!r}]")
        for key, entry in _object(value, where).items()
    }


def _entry(value: Mapping[str, Any], where: str) -> LayerLatency:
    p50_ms = _number(value["p50_ms"], f"{where}.p50_ms")
    return _placed(
        where,
        lambda: LayerLatency(
            p50_ms=p50_ms,
            mean_ms=_number(value.get("mean_ms", p50_ms), "mean_ms"),
            std_ms=_number(value.get("std_ms", 0.0), "std_ms"),
            count=_integer(value.get("count", 1), "count"),
        ),
    )


def _placed(where: str, make: Callable[[], T]) -> T:
    """`make()`, its complaints preceded by where in the document they apply."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{where}.{error}") from error


# -- primitives ----------------------------------------------------------------------------


def _strict_json(content: str | bytes) -> object:
    def constant(word: str) -> object:
        raise InputError(f"JSON: expected finite numbers, got {word}")

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(items)
        if len(value) != len(items):
            keys = [key for key, _ in items]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"JSON: field {repeated[:80]!r} is given twice")
        return value

    try:
        return cast(object, json.loads(content, parse_constant=constant, object_pairs_hook=pairs))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"JSON: not readable ({error})") from error


def _object(
    value: object,
    where: str,
    required: Sequence[str] | None = None,
    optional: Sequence[str] = (),
) -> Mapping[str, Any]:
    """An object with all `required` fields and none beyond; any fields if that is None."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected an object, got {_short(value)}")
    if strange := [key for key in value if not isinstance(key, str)]:
        raise InputError(f"{where}: expected text as keys, got {_short(strange[0])}")
    if required is not None:
        known = (*required, *optional)
        if missing := [field for field in required if field not in value]:
            raise InputError(f"{where}: field {missing[0]!r} is missing; expected {required}")
        if unknown := sorted(set(value) - set(known)):
            raise InputError(f"{where}: unknown field {unknown[0][:80]!r}; expected {known}")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: expected a number, got {_short(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{where}: expected a smaller number, got one beyond 1e308") from error


def _numbers(value: object, where: str) -> tuple[float, ...]:
    return tuple(_number(item, where) for item in _list([] if value is None else value, where))


def _list(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list, got {_short(value)}")
    return value


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where}: expected an integer, got {_short(value)}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: expected text, got {_short(value)}")
    return value


def _short(value: object) -> str:
    shown = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return shown[:60]

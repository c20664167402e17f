"""Device profiles as users post them: times of layers or of whole networks, read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from latency_tables.fitting.fit import fit_table
from latency_tables.fitting.whole_networks import WholeNetworks
from latency_tables.table import (
    CONDITIONS_OPTIONAL,
    CONDITIONS_REQUIRED,
    Conditions,
    LatencyTable,
    check_name,
    check_text,
    expect_object,
    expect_text,
    parse_conditions,
    parse_entries,
    parse_table,
    table_to_json,
)
from models.errors import InputError, NotFound
from models.spaces import SearchSpace, published_spaces

_PROFILE = ("name", "runtime", "precision", "batch", "conditions", "space")
_PROFILE_TABLE = (
    *("origin", "network_overhead_ms", "expected_error", "residual_ratios", "sittings"),
    *("estimated_resolutions", "notes"),
)
_PROFILE_OPTIONAL = ("source", *_PROFILE_TABLE)
_FORMS = ("table", "measurements", "donor")

Spaces = Callable[[], Mapping[str, SearchSpace]]
DonorOf = Callable[[str, str, str], LatencyTable]
"""The table of a device, for a space, at a precision."""


def no_donor(device: str, space: str, precision: str) -> LatencyTable:
    """The default `donor_of`: no other device is known.

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
      "count"; with it optionally "network_overhead_ms", "expected_error", "residual_ratios",
      "sittings", a list of `{"measured_at", "networks", "ratio"}` with optional "searched_ratios",
      "estimated_resolutions" and "notes". "origin" says what the numbers are: measured by the user,
      unless it is given. `profile_of_table` writes all of it.
    * "measurements" of whole networks, `{"arch": [...], "latency_ms": [...]}`, to which a table is
      fitted (`latency_tables.fitting.fit`); optionally near the table of a "donor", another device.

    Args:
        spaces: returns the known spaces by name; called only for measurements.
        donor_of: returns the donor's table.

    Raises:
        InputError: naming the place, what was expected there and what was found.
        NotFound: the donor or its table is not known.
    """
    profile = expect_object(value, "profile", _PROFILE, (*_PROFILE_OPTIONAL, *_FORMS))
    forms = tuple(form for form in _FORMS if form in profile)
    if forms == ("table",):
        return _profile_with_table(profile)
    if forms in (("measurements",), ("measurements", "donor")):
        return _profile_with_networks(profile, spaces(), donor_of)
    raise InputError(
        "profile: expected one of 'table', 'measurements', or 'donor' with 'measurements', "
        f"got {list(forms)}"
    )


def profile_of_table(table: LatencyTable) -> dict[str, Any]:
    """A table as a profile, from which `parse_profile` reads an equal table."""
    document = json.loads(table_to_json(table))
    conditions = {k: v for k, v in document.pop("conditions").items() if v is not None}
    del document["schema_version"]
    head = {field: conditions.pop(field) for field in CONDITIONS_REQUIRED}
    entries = document.pop("entries")
    return {
        "name": document.pop("device"),
        **head,
        "conditions": conditions,
        **{field: value for field, value in document.items() if value is not None},
        "table": entries,
    }


def _profile_with_networks(
    profile: Mapping[str, Any], spaces: Mapping[str, SearchSpace], donor_of: DonorOf
) -> LatencyTable:
    if extra := [name for name in _PROFILE_TABLE if name in profile]:
        raise InputError(
            f"profile.{extra[0]}: expected it with a 'table' only; it is computed from measurements"
        )
    device, conditions, source = _profile_head(profile)
    if (space := spaces.get(expect_text(profile["space"], "profile.space"))) is None:
        raise InputError(
            f"profile.space: whole networks need a known space, expected one of "
            f"{', '.join(sorted(spaces))}, got {profile['space'][:80]!r}"
        )
    measured = WholeNetworks.from_json(
        profile["measurements"], space, batch=conditions.batch, runtime=conditions.runtime
    )
    donor = None
    if "donor" in profile:
        name = expect_text(profile["donor"], "profile.donor")
        donor = donor_of(name, space.name, conditions.precision)
    return fit_table(
        space, measured, device=device, conditions=conditions, source=source, donor=donor
    )


def parse_head(value: object, form: str) -> tuple[Mapping[str, Any], Conditions]:
    """A profile with the field `form`, its common fields checked, and its conditions.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    profile = expect_object(value, "profile", (*_PROFILE, form), ())
    check_name(expect_text(profile["name"], "profile.name"), "profile.name")
    check_name(expect_text(profile["space"], "profile.space"), "profile.space")
    return profile, _profile_conditions(profile)


def _profile_conditions(profile: Mapping[str, Any]) -> Conditions:
    others = expect_object(profile["conditions"], "profile.conditions", (), CONDITIONS_OPTIONAL)
    conditions = {**others, **{field: profile[field] for field in CONDITIONS_REQUIRED}}
    return parse_conditions(conditions, "profile.conditions")


def _profile_with_table(profile: Mapping[str, Any]) -> LatencyTable:
    device, conditions, source = _profile_head(profile)
    return parse_table(
        "profile",
        device=device,
        origin=expect_text(profile.get("origin", "measured"), "profile.origin"),
        source=source,
        conditions=conditions,
        entries=parse_entries(profile["table"], "profile.table", required=("p50_ms",)),
        fields=profile,
    )


def _profile_head(profile: Mapping[str, Any]) -> tuple[str, Conditions, str]:
    """Name, conditions and source."""
    device = expect_text(profile["name"], "profile.name")
    check_name(device, "profile.name")
    source = expect_text(profile.get("source", "posted by the user"), "profile.source")
    check_text(source, "profile.source")
    return device, _profile_conditions(profile), source

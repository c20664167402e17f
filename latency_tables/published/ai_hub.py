"""Profiles of Qualcomm AI Hub: JSON as `ProfileJob.download_profile` returns it, times in us.

`execution_summary.estimated_inference_time` is the time of the whole network, for `devices fit`;
`execution_detail` has the operators' times, by name. A profile does not say which network it is of.
The user says it in one of three ways:

* a field `arch` in the profile, beside `execution_summary`;
* a file `NAME.arch.json` beside the profile `NAME.json`;
* a list, `{"profile": ["a.json", ...], "arch": [{...}, ...]}`, with paths from the list's folder.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from latency_tables.published.rows import (
    MAX_FILES,
    Row,
    Sheet,
    checked,
    files_of,
    latency_of,
    sniff,
)
from models.errors import InputError, InvalidDocument, NotFound, show_value
from models.schema import read_json
from models.spaces import SearchSpace, layer_plan

SUMMARY, DETAIL, TIME = "execution_summary", "execution_detail", "estimated_inference_time"
ARCH_SUFFIX = ".arch.json"
MAX_US = 1e9
MAX_OPERATORS = 100_000


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile."""

    path: Path
    arch: Any
    """As the user wrote it."""
    latency_ms: float
    operators: list[Any]


def is_ai_hub(path: Path) -> bool:
    """Whether a file is a profile or a list of some, or a file of a folder is a profile."""
    if path.is_dir():
        return any(_is_profile(item) for item in sorted(path.glob("*.json"))[:MAX_FILES])
    return _is_profile(path) or _is_list(path)


def read_ai_hub(path: Path) -> dict[str, Any]:
    """Profiles as measurements of whole networks, `{"arch": [...], "latency_ms": [...]}`.

    Raises:
        NotFound: a profile of a list does not exist.
        InputError: naming the file and what in it is wrong or missing.
    """
    profiles = _profiles(path)
    return {
        "arch": [profile.arch for profile in profiles],
        "latency_ms": [profile.latency_ms for profile in profiles],
    }


def read_ai_hub_layers(path: Path, space: SearchSpace) -> list[Sheet]:
    """The layers of profiled networks, as far as operators have the names that our ONNX files give
    them. A layer in several networks has the mean of its times.

    Raises:
        InputError: naming the file and what in it is wrong or missing.
    """
    times_us: dict[str, list[float]] = {}
    others: list[Row] = []
    profiles = _profiles(path)
    for profile in profiles:
        for key, time_us in _layers(profile, space, others):
            times_us.setdefault(key, []).append(time_us)
    if not times_us:
        raise InputError(
            f"{path.name}: no operator has the name of a layer; whole networks' times are read by "
            "`subnet-search devices fit --measurements`"
        )
    rows = [
        Row(1, key, latency_of(key, 1e-3, statistics.fmean(own), statistics.pstdev(own), len(own)))
        for key, own in times_us.items()
    ]
    return checked(path, iter([Sheet(path.name, (*rows, *others))]))


def _layers(profile: Profile, space: SearchSpace, others: list[Row]) -> Iterator[tuple[str, float]]:
    """Our key at a resolution, and time, of each layer of a network; what else took time."""
    try:
        arch = space.read_arch(profile.arch)
    except InvalidDocument as error:
        raise InputError(f"{profile.path.name}: {error}") from error
    plan = {layer.name: layer for layer in layer_plan(space, arch)}
    names = "|".join(sorted(map(re.escape, plan), key=len, reverse=True))
    find = re.compile(rf"(?<![A-Za-z0-9_])({names})(?![A-Za-z0-9_])")
    sums_us = dict.fromkeys(plan, 0.0)
    for position, operator in enumerate(profile.operators, 1):
        fields = operator if isinstance(operator, Mapping) else {}
        name, time_us = str(fields.get("name", ""))[:2000], fields.get("execution_time")
        if not _is_time(time_us, least=0):
            continue
        if found := find.search(name):
            sums_us[found[1]] += time_us
        elif time_us:
            where = f"{profile.path.name}: operator {position}"
            others.append(Row(position, name or "(no name)", latency_of(where, 1e-3, time_us)))
    for name, time_us in sums_us.items():
        if time_us > 0:
            yield f"{plan[name].key}@{arch.resolution}", time_us


def _profiles(path: Path) -> list[Profile]:
    if not path.is_dir() and _is_list(path):
        return _listed(path)
    files = [file for file in files_of(path, ".json") if _is_profile(file)]
    return [_profile(file, _arch_of(file)) for file in files]


def _listed(path: Path) -> list[Profile]:
    value = read_json(path).value
    names, archs = value["profile"], value.get("arch")
    if not (isinstance(names, list) and isinstance(archs, list) and len(names) == len(archs)):
        raise InputError(f"{path.name}: expected lists profile and arch of equal length")
    if not 1 <= len(names) <= MAX_FILES * 8:
        raise InputError(f"{path.name}: expected 1 to {MAX_FILES * 8} profiles, got {len(names)}")
    for index, name in enumerate(names):
        if not isinstance(name, str) or "\0" in name:
            got = show_value(name)
            raise InputError(f"{path.name}: profile[{index}]: expected a file's name, got {got}")
    return [_profile(path.parent / name, arch) for name, arch in zip(names, archs, strict=True)]


def _arch_of(path: Path) -> Any:
    """The architecture that stands in a profile, or beside it.

    Raises:
        InputError: neither.
    """
    value = read_json(path).value
    if "arch" in value:
        return value["arch"]
    beside = path.with_name(path.stem + ARCH_SUFFIX)
    if not beside.exists():
        raise InputError(
            f"{path.name}: nothing says which network this profile is of: add a field `arch`, or "
            f"write the architecture to {beside.name}"
        )
    arch = read_json(beside).value
    return arch["arch"] if isinstance(arch, dict) and "arch" in arch else arch


def _profile(path: Path, arch: Any) -> Profile:
    value = read_json(path).value
    summary = value.get(SUMMARY) if isinstance(value, dict) else None
    if not isinstance(summary, dict):
        raise InputError(f"{path.name}: expected a profile of AI Hub with {SUMMARY}")
    time_us = summary.get(TIME)
    if not _is_time(time_us):
        raise InputError(
            f"{path.name}: {SUMMARY}.{TIME}: expected microseconds above 0, got "
            f"{show_value(time_us)}"
        )
    operators = value.get(DETAIL, [])
    if not isinstance(operators, list) or len(operators) > MAX_OPERATORS:
        raise InputError(f"{path.name}: {DETAIL}: expected a list of at most {MAX_OPERATORS}")
    return Profile(path, arch, time_us / 1e3, operators)


def _is_time(value: Any, least: float = 1e-9) -> TypeGuard[float]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and least <= value <= MAX_US


def _is_profile(path: Path) -> bool:
    return _has_field(path, SUMMARY, dict)


def _is_list(path: Path) -> bool:
    return _has_field(path, "profile", list)


def _has_field(path: Path, name: str, kind: type) -> bool:
    text = sniff(path)
    if text is None or f'"{name}"' not in text:
        return False
    try:
        value = read_json(path).value
    except (InputError, NotFound):
        return False
    return isinstance(value, dict) and isinstance(value.get(name), kind)

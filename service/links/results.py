"""What a device sends of its measurement, checked place by place, and the table that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latency_tables.table import (
    MAX_MS,
    Conditions,
    LatencyTable,
    Note,
    expect_object,
    expect_text,
    parse_conditions,
)
from models.errors import InputError, show_value
from models.spaces import Arch, SearchSpace
from service.catalog import Catalog
from service.links.plans import RUNTIME

if TYPE_CHECKING:
    from latency_tables.benchmark import RemotePlan

Floats = npt.NDArray[np.float64]

FIELDS = ("plan", "backend", "runtime", "precision", "batch", "space", "conditions", "rounds")
OPTIONAL = ("canary_ms", "orders", "stopped", "last", "name")
CONDITIONS = (
    *("runtime_version", "provider", "threads", "user_agent", "cross_origin_isolated"),
    *("gpu_adapter", "first_session_ms", "first_run_ms", "session_ms", "run_ms"),
)
"""What is kept of what a device says of itself; the service adds the rest."""
SLOWED = 1.2
"""How many times as long a canary takes once its device counts as throttled."""
FEW = 0.25
"""Share of the rounds after that which may be faster."""
FIRST_ROUNDS = 3
"""Rounds whose median is the speed that later ones are compared with."""
MIN_ROUNDS = 3
"""Undisturbed rounds without which nothing is stored."""
THROTTLED = "throttled"
MAX_DONORS = 16
MAX_STOPPED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTimes:
    """What a device timed, checked."""

    backend: str
    conditions: Conditions
    times: Mapping[str, Floats]
    """(R, 2) milliseconds by name, at the device's usual speed, without the rounds of one that
    slowed down for good."""
    notes: tuple[Note, ...]


def read_result(
    value: object,
    plan: RemotePlan,
    backends: Sequence[str],
    *,
    processor: str,
    measured_at: datetime,
) -> DeviceTimes:
    """The times that a device sends.

    Args:
        backends: those that its link asks for.
        processor, measured_at: of the conditions; the device does not state them.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    fields = expect_object(value, "result", FIELDS, OPTIONAL)
    expected = {
        "plan": plan.id,
        "runtime": RUNTIME,
        "precision": plan.precision,
        "batch": 1,
        "space": plan.space.name,
    }
    for name, wanted in expected.items():
        if fields[name] != wanted or isinstance(fields[name], bool):
            raise InputError(f"result.{name}: expected {wanted!r}, got {show_value(fields[name])}")
    backend = read_backend(fields["backend"], backends)
    conditions = read_conditions(
        fields["conditions"], backend, plan.precision, processor=processor, measured_at=measured_at
    )
    times = _times(fields["rounds"], plan)
    rounds = len(next(iter(times.values())))
    canary = _canary(fields.get("canary_ms"), rounds)
    orders = _orders(fields.get("orders"), rounds, len(times))
    stopped = fields.get("stopped")
    if stopped is not None and len(expect_text(stopped, "result.stopped")) > MAX_STOPPED:
        raise InputError(f"result.stopped: expected at most {MAX_STOPPED} characters")
    taken = canary if orders is None else np.median(_slowness(times, orders), axis=0)
    used = _undisturbed(taken) if taken is not None else rounds
    if used < MIN_ROUNDS:
        raise InputError(
            f"result.rounds.times_ms: expected at least {MIN_ROUNDS} rounds"
            + (
                ""
                if used == rounds
                else f" before the device slowed down (it did after {used} of {rounds})"
            )
            + f", got {used}: let the device cool down, plug it in, and open a new link"
        )
    return DeviceTimes(
        backend=backend,
        conditions=conditions,
        times=_sound(times, orders, used),
        notes=tuple(_notes(taken, used, rounds, stopped)),
    )


def read_backend(value: object, backends: Sequence[str]) -> str:
    """The backend that a result is of.

    Raises:
        InputError: if its link does not ask for it.
    """
    if not isinstance(value, str) or value not in backends:
        raise InputError(
            f"result.backend: expected one of {list(backends)}, got {show_value(value)}"
        )
    return value


def read_conditions(
    value: object, backend: str, precision: str, *, processor: str, measured_at: datetime
) -> Conditions:
    """The conditions that a device states, with those that the service adds.

    Raises:
        InputError: naming the place, what was expected there and what was found.
    """
    where = "result.conditions"
    stated = expect_object(value, where)
    if missing := [name for name in ("provider", "threads") if name not in stated]:
        raise InputError(f"{where}: field {missing[0]!r} is missing")
    stated = {name: stated[name] for name in CONDITIONS if name in stated}
    if stated["provider"] != backend:
        raise InputError(
            f"{where}.provider: expected {backend!r}, got {show_value(stated['provider'])}"
        )
    added = {
        "runtime": RUNTIME,
        "precision": precision,
        "batch": 1,
        "processor": processor,
        "measured_at": measured_at.isoformat(timespec="seconds"),
    }
    return parse_conditions({**stated, **added}, where)


def _times(value: object, plan: RemotePlan) -> dict[str, Floats]:
    rounds = expect_object(value, "result.rounds", (*plan.rounds, "times_ms"))
    for name, wanted in plan.rounds.items():
        if rounds[name] != wanted or isinstance(rounds[name], bool):
            raise InputError(
                f"result.rounds.{name}: expected {wanted!r} as in the plan, got "
                f"{show_value(rounds[name])}"
            )
    try:
        return plan.read_times(rounds["times_ms"])
    except InputError as error:
        raise InputError(str(error).replace("profile.rounds", "result.rounds", 1)) from error


def _canary(value: object, rounds: int) -> Floats | None:
    if value is None:
        return None
    where = "result.canary_ms"
    if not isinstance(value, list) or not all(map(_is_time, value)):
        raise InputError(f"{where}: expected positive milliseconds, a number a round")
    if len(value) != rounds:
        raise InputError(f"{where}: expected {rounds}, as many as rounds, got {len(value)}")
    return np.array(value, np.float64)


def _orders(value: object, rounds: int, models: int) -> list[list[int]] | None:
    if value is None:
        return None
    where, every = "result.orders", list(range(models))
    if not isinstance(value, list) or len(value) != rounds:
        raise InputError(f"{where}: expected {rounds} lists, as many as rounds")
    for number, order in enumerate(value):
        whole = isinstance(order, list) and all(type(index) is int for index in order)
        if not whole or sorted(order) != every:
            raise InputError(f"{where}[{number}]: expected each of 0 to {models - 1} once")
    return value


def _sound(
    times: Mapping[str, Floats], orders: Sequence[Sequence[int]] | None, rounds: int
) -> dict[str, Floats]:
    """The times of the first rounds, at the usual speed if the order of their visits is known."""
    from latency_tables.benchmark import at_usual_speed

    first = {name: visits[:rounds] for name, visits in times.items()}
    return first if orders is None else at_usual_speed(first, orders[:rounds])


def _slowness(times: Mapping[str, Floats], orders: Sequence[Sequence[int]]) -> Floats:
    """How many times as long as usual the device took at each visit, (M, R)."""
    from latency_tables.benchmark import slowness

    return slowness(np.array([visits[:, 0] for visits in times.values()]), orders)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_MS


def _undisturbed(taken_R: Floats) -> int:
    """How many rounds came before the device slowed down for good; other work on it slows it down
    for some rounds.

    Args:
        taken_R: how long the same work took in each round.
    """
    usual = float(np.median(taken_R[:FIRST_ROUNDS]))
    for done in range(1, len(taken_R) - 1):  # a single slow round at the end is noise
        rest_R = taken_R[done:] / usual
        if rest_R[0] > SLOWED and float(np.quantile(rest_R, FEW)) > SLOWED:
            return done
    return len(taken_R)


def _notes(taken_R: Floats | None, used: int, rounds: int, stopped: object) -> Iterator[Note]:
    if taken_R is not None and used < rounds:
        factor = float(np.median(taken_R[used:]) / np.median(taken_R[:FIRST_ROUNDS]))
        yield Note(
            "trend",
            f"the device became {factor:.3g} times as slow after {used} of {rounds} rounds, as one "
            "does that gets hot: only the rounds before count, and networks may run slower than "
            "predicted in long use. Measure it again, cool and plugged in",
        )
    elif stopped is not None:
        why = "".join(c if c.isprintable() else " " for c in str(stopped)).strip() or "unknown"
        if stopped == THROTTLED:
            why = "the device slowed down, as one does that gets hot"
        yield Note(
            "trend",
            f"the measurement was stopped after {rounds} rounds ({why}): networks may run slower "
            "than predicted in long use. Measure it again, cool and plugged in",
        )


# -- tables --------------------------------------------------------------------------------


def assemble(device: str, plan: RemotePlan, measured: DeviceTimes) -> LatencyTable:
    """The table of a thorough measurement.

    Raises:
        InputError: as `table_from_kit`.
    """
    from latency_tables.benchmark import table_from_kit

    visits = {
        name: {"p50": rows[:, 0].tolist(), "mean": rows[:, 1].tolist()}
        for name, rows in measured.times.items()
    }
    profile = {"name": device, "rounds": {**plan.rounds, "times_ms": visits}}
    table = table_from_kit(profile, measured.conditions, plan.space, at_usual_speed=True)
    return replace(table, notes=(*measured.notes, *table.notes))


def fit(device: str, plan: RemotePlan, measured: DeviceTimes, catalog: Catalog) -> LatencyTable:
    """The table of a quick measurement: fitted, near a donor where that lowers the error of
    networks that are left out of the fit.

    Raises:
        InputError: as `fit_table`.
    """
    from latency_tables.benchmark import p50_ms
    from latency_tables.fitting import WholeNetworks, fit_table

    archs = tuple(Arch.from_json(json.loads(name)) for name in plan.networks)
    times_ms = np.array([p50_ms(measured.times[name]) for name in plan.networks])
    networks = WholeNetworks(archs, times_ms)
    rounds = len(next(iter(measured.times.values())))
    how = f"whole networks timed in a browser, {rounds} rounds"

    def fitted(donor: LatencyTable | None) -> LatencyTable:
        return fit_table(
            plan.space,
            networks,
            device=device,
            conditions=measured.conditions,
            source=how,
            donor=donor,
        )

    best = fitted(None)
    for donor in islice(donors(catalog, plan.space, plan.precision, device), MAX_DONORS):
        try:
            other = fitted(donor)
        except InputError:  # it lacks layers, or is too unlike
            continue
        if (other.expected_error or 0.0) < (best.expected_error or 0.0):
            best = other
    return replace(best, notes=(*measured.notes, *best.notes))


def donors(
    catalog: Catalog, space: SearchSpace, precision: str, device: str
) -> Iterator[LatencyTable]:
    """Tables of other devices for the same space and precision, but those that others keep to
    themselves."""
    for name, tables in catalog.devices.keys().items():
        private = "@" in name
        if name != device and not private and (space.name, precision) in tables:
            yield catalog.devices.table(name, space.name, precision)

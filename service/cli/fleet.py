"""Many devices: `fleet` finds one network, or the fewest, for several of them; `ledger` adds up the
energy of networks for many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from models.errors import InputError
from service.cli.common import MEASURE_S, Json, SupernetName, catalog, settings
from service.cli.output import (
    ArchFormat,
    in_arch_format,
    print_json,
    print_table,
    progress_bar,
)
from service.contracts import images_in_words


def fleet(
    supernet: SupernetName,
    on: Annotated[
        list[str], typer.Option(help="DEVICE=MS: a device and its latency budget; repeatable.")
    ],
    loss: Annotated[
        float | None,
        typer.Option(
            help="Find the fewest networks with which no device is predicted to lose more "
            "points than this to its own best. Default: one network for all, whatever it loses."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed; the same seed gives the same answer.")
    ] = 0,
    arch_format: ArchFormat = "ours",
    json: Json = False,
) -> None:
    """Find one network, or the fewest, for several devices with a budget each."""
    from service.catalog import plan_fleet

    known = catalog()
    with progress_bar("searching") as show_share:
        answer = plan_fleet(
            known,
            supernet,
            _budgets(on),
            loss,
            seed,
            lambda done, most: show_share(done / most, f"({done} searches)"),
        )
    answer = in_arch_format(answer, arch_format, known.supernets.get(supernet).space.to_json())
    if json:
        print_json(answer)
        return
    print_table(
        ("network", "top1", "device", "runtime", "latency_ms", "budget_ms", "loss"),
        [row for index, found in enumerate(answer["networks"], 1) for row in _rows(index, found)],
    )
    for index, found in enumerate(answer["networks"], 1):
        typer.echo(f"network {index}: {found['arch']}")


def _budgets(options: Sequence[str]) -> dict[str, float]:
    budgets: dict[str, float] = {}
    for option in options:
        device, _, text = option.rpartition("=")
        try:
            budget = float(text)
        except ValueError:
            budget = math.nan
        if not device or not (math.isfinite(budget) and budget > 0):
            raise InputError(
                f"--on: expected DEVICE=MS with a positive number, such as host=1.5, got {option!r}"
            )
        if device in budgets:
            raise InputError(f"--on: device {device!r} is given twice")
        budgets[device] = budget
    return budgets


def _rows(index: int, found: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            index,
            f"{found['top1']:.2f}",
            device,
            at["runtime"],
            f"{at['latency_ms']:.4g}{images_in_words(at['batch'])}",
            f"{at['budget_ms']:.4g}",
            "unknown" if at["loss"] is None else f"{at['loss']:.2f}",
        )
        for device, at in found["devices"].items()
    ]


def ledger(
    supernet: SupernetName = "fashion-mbv3",
    devices: Annotated[
        int, typer.Option(min=1, help="Number of devices that get a network.")
    ] = 100,
    table_s: Annotated[
        float, typer.Option(min=0, help="Seconds spent on measuring each device's table.")
    ] = MEASURE_S,
    power_w: Annotated[
        float | None,
        typer.Option(help="Power of a busy machine, watts. Default: the training's mean."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare the energy of one supernet for many devices with training a network for each."""
    from service.catalog import ledger as add_up
    from service.storage import SearchStore, current_database

    bundle = catalog().supernets.get(supernet)
    with current_database(settings().database) as engine:
        worked = SearchStore(engine).worked(supernet)
    found = add_up(bundle.card, worked, devices=devices, table_s=table_s, power_w=power_w)
    if json:
        print_json(found)
        return
    print_table(("what", "Wh", "how known"), list(_ledger_rows(found)))
    total = found["total"]
    for name in ("shared", "alone"):
        if f"{name}_kwh" in total:
            co2e = total.get(f"{name}_co2e_kg")
            grams = "" if co2e is None else f", {1e3 * co2e:.3g} g CO2e"
            typer.echo(f"{devices} devices, {name}: {1e3 * total[f'{name}_kwh']:.4g} Wh{grams}")
    if found["break_even_devices"]:
        typer.echo(f"sharing pays from {found['break_even_devices']} devices on")
    for key, than in (
        ("times_less_than_training", "training one network alone"),
        ("times_less_than_training_and_searching", "training one and searching for it"),
    ):
        if key in found["one_more_device"]:
            less = found["one_more_device"][key]
            times = (
                f"{less:.3g} times less than" if less >= 1 else f"{1 / less:.3g} times as much as"
            )
            typer.echo(f"one more device: {times} {than}")
    for line in found["missing"]:
        typer.echo(f"not known: {line}")


def _ledger_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    entries = [(f"once: {name}", entry) for name, entry in found["once"].items()]
    entries += [(f"each device: {name}", entry) for name, entry in found["per_device"].items()]
    if found["alone"]:
        entries.append(("one network trained alone", found["alone"]))
    if found["alone_search"]:
        entries.append(("searching for one, each candidate trained", found["alone_search"]))
    return [
        (name, f"{1e3 * entry['energy_kwh']:.4g}", f"{entry['provenance']}, {entry['method']}")
        for name, entry in entries
    ]

"""`ledger`: the energy of networks for many devices, against training one for each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli.common import MEASURE_S, Json, SupernetName, catalog, settings
from service.cli.output import print_json, print_table


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
    print_table(("what", "Wh", "how known"), list(_rows(found)))
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


def _rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
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

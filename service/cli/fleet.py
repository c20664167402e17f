"""`fleet`: one network, or the fewest, for several devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from models.errors import InputError
from service.cli.common import Json, SupernetName, catalog
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
        ("network", "top1", "device", "latency_ms", "budget_ms", "loss"),
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
            f"{at['latency_ms']:.4g}{images_in_words(at['batch'])}",
            f"{at['budget_ms']:.4g}",
            "unknown" if at["loss"] is None else f"{at['loss']:.2f}",
        )
        for device, at in found["devices"].items()
    ]

"""`devices check`: does a table hold on the machine that it was measured on?"""

from __future__ import annotations

import dataclasses
import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from service.cli.common import DeviceArgument, Json, SupernetName, catalog
from service.cli.output import print_json, print_table, progress_bar
from service.contracts import sittings_in_words

if TYPE_CHECKING:
    from latency_tables.benchmark import TableValidation
    from latency_tables.table import LatencyTable

WORTH_CORRECTING = 0.01
"""Share of the latency by which drift must raise the error for a correction to be proposed."""


def check(
    name: DeviceArgument,
    supernet: SupernetName,
    precision: Annotated[str, typer.Option(help="Of the table: fp32 or int8.")] = "fp32",
    target_s: Annotated[float, typer.Option(min=0, help="Seconds to measure for.")] = 60.0,
    networks: Annotated[int, typer.Option(min=3, help="Number of whole networks to time.")] = 40,
    correct: Annotated[
        bool,
        typer.Option(
            "--correct", help="Store a table corrected by these times as the next revision."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do not add what was timed to the table's sittings.")
    ] = False,
    json: Json = False,
) -> None:
    """Time whole networks on this machine, to check its table and to add a sitting to it."""
    from latency_tables.benchmark import MeasureOptions
    from service.catalog import correct_device, keep_sitting, time_sitting

    if correct and dry_run:
        raise InputError("--correct stores a table and --dry-run stores none: choose one")
    known = catalog()
    bundle = known.supernets.get(supernet)
    table = (kept := known.devices.kept(name, bundle.space.name, precision)).table
    options = MeasureOptions(target_s=target_s)
    with progress_bar(f"timing networks of {bundle.space.name}") as show_share:
        found = time_sitting(
            known, bundle, table, options, networks=networks, on_progress=show_share
        )
    assert found.sitting is not None
    report = _report(table, found)
    if not json:
        _print(report)
    if not (correct or dry_run):
        report |= _sittings(keep_sitting(known, kept, found.sitting).table)
    if correct:
        here = dataclasses.replace(found.conditions, power_w=table.conditions.power_w)
        try:
            corrected = correct_device(known, name, report["measurements"], here)
        except InputError:
            if json:
                print_json(report)
            raise
        report["revision"] = corrected.revision.number
        report["expected_error_corrected"] = corrected.table.expected_error
        report |= _sittings(corrected.table)
    if json:
        print_json(report)
        return
    if correct:
        typer.echo(
            f"corrected: revision {report['revision']}, expected error of a whole network "
            f"{report['expected_error_corrected']:.1%}"
        )
    elif _mostly_drift(report):
        typer.echo("most of the error is drift: --correct fits the table to these networks")
    if not dry_run:
        typer.echo(sittings_in_words(report["sittings"], report["drift_fraction"]))


def _sittings(table: LatencyTable) -> dict[str, Any]:
    """What is known of the drift between sittings, this one included."""
    drift = table.drift
    return {
        "sittings": 1 + len(table.sittings),
        "drift_fraction": None if drift is None else drift.deviation,
    }


def _report(table: LatencyTable, found: TableValidation) -> dict[str, Any]:
    confidence = table.usual_confidence
    sides = {"as_timed": found, "without_drift": found.without_drift()}
    if found.searched is not None:
        sides["searched"] = found.searched
    figures = {
        key: {
            "networks": len(seen.archs),
            "mean_error": seen.mean_error,
            "within_10_percent": seen.share_within(0.1),
            "bound_held": confidence and seen.share_below(table.upper_factor(confidence)),
        }
        for key, seen in sides.items()
    }
    return {
        "device": table.device,
        "space": table.space,
        "precision": table.conditions.precision,
        "networks": len(found.archs),
        "drift": found.drift,
        "confidence": confidence,
        **figures,
        "expected_error": table.expected_error,
        "measurements": {
            "arch": [jsonlib.loads(arch) for arch in found.archs],
            "latency_ms": found.measured_ms.tolist(),
            "batch": table.conditions.batch,
            "runtime": table.conditions.runtime,
            "space": table.space,
            "precision": table.conditions.precision,
        },
    }


def _mostly_drift(report: dict[str, Any]) -> bool:
    error, own = (report[side]["mean_error"] for side in ("as_timed", "without_drift"))
    return bool(error > 2 * own and error - own > WORTH_CORRECTING)


def _print(report: dict[str, Any]) -> None:
    columns = {"as_timed": "as timed", "without_drift": "without drift", "searched": "searched"}
    sides = [report[key] for key in columns if key in report]
    rows = [
        ("networks", *(str(side["networks"]) for side in sides)),
        ("mean error", *(f"{side['mean_error']:.1%}" for side in sides)),
        ("networks within 10 %", *(f"{side['within_10_percent']:.0%}" for side in sides)),
    ]
    if report["confidence"] is not None:
        aim = f"below the upper bound, nominal {report['confidence']:.0%}"
        rows.append((aim, *(f"{side['bound_held']:.0%}" for side in sides)))
    typer.echo(
        f"{report['device']} for space {report['space']} at {report['precision']}: "
        f"{report['networks']} networks drawn anew, timed now"
    )
    typer.echo(
        f"they take {report['drift']:.3f} times as long as the table says, by the median of others"
    )
    print_table(("", *(columns[key] for key in columns if key in report)), rows)

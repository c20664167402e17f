"""`supernets collect`, `fit-predictor` and `compare`: what is measured of a supernet's subnets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import (
    Json,
    SupernetArgument,
    catalog,
    if_stopped,
    print_warnings,
    settings,
)
from service.cli.output import print_json, print_table, progress_bar
from service.cli.supernets.bringing import echo_path

FIT_SUBNETS, TEST_SUBNETS, FOUND_SUBNETS = 1100, 200, 24
"""Defaults of `service.catalog.supernets`, whose import would slow every command down."""


def collect(
    name: SupernetArgument,
    fit: Annotated[
        int, typer.Option(min=1, help="Number of subnets to fit a predictor to.")
    ] = FIT_SUBNETS,
    test: Annotated[
        int, typer.Option(min=1, help="Number of subnets to test the predictor on.")
    ] = TEST_SUBNETS,
    found: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instead, as many networks that searches find: what a search ends with is then "
            "fitted to as well. Needs a predictor; run fit-predictor again after it.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 2,
    json: Json = False,
) -> None:
    """Measure many subnets on held-out images; an interrupted run continues."""
    from models.bundle import read_measured
    from models.machine import keep_freed_memory
    from service.catalog.supernets import measure_subnets

    keep_freed_memory()
    bundle = catalog().supernets.get(name)
    kept = if_stopped("subnets measured so far are kept; the same command goes on")
    with kept, progress_bar(f"measuring subnets of {name}") as show_share:
        bundle = measure_subnets(
            bundle,
            settings().home,
            fit_count=fit,
            test_count=test,
            found_count=found,
            threads=threads,
            on_measured=lambda done, total: show_share(done / total, f"{done}/{total} subnets"),
        )
    measured = bundle.path / "measured.jsonl.gz"
    if json:
        echo_path(measured, json)
        return
    typer.echo(
        f"measured {len(read_measured(measured))} subnets in all: {measured}; next: `subnet-search "
        f"supernets fit-predictor {name}`"
    )


def fit_predictor_(
    name: SupernetArgument,
    measurements: Annotated[
        Path | None, typer.Option(help="Accuracies measured elsewhere: a JSON file.")
    ] = None,
    found: Annotated[
        int,
        typer.Option(
            min=0,
            help="Networks to find by searches and to measure, a few rounds of them: the error "
            "stated for searches is theirs. 0: none, and that error is not known.",
        ),
    ] = FOUND_SUBNETS,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 2,
    json: Json = False,
) -> None:
    """Fit the accuracy predictor to measured subnets and print its error."""
    from models.machine import keep_freed_memory
    from service.catalog.supernets import fit_predictor, fit_predictor_to, fit_warnings

    keep_freed_memory()
    bundle = catalog().supernets.get(name)
    kept = if_stopped(
        "the predictor is as it was; networks measured so far are kept, and the same command "
        "measures only others"
    )
    with kept, progress_bar("fitting the predictor") as show_share:
        if measurements is None:
            bundle = fit_predictor(
                bundle, settings().home, found_count=found, threads=threads, on_share=show_share
            )
        else:
            bundle = fit_predictor_to(bundle, settings().home, measurements, show_share)
    report = bundle.card["predictor"]
    print_warnings(fit_warnings(bundle))
    if json:
        print_json(report)
        return
    if (judged := report.get("found")) is not None:
        typer.echo(
            f"on {judged['networks']} networks that searches found: {judged['bias']:+.3f} points "
            f"too much, subtracted; expected error {judged['rmse']:.3f} points (RMSE), "
            f"{judged['confidence']:.0%} within {judged['interval']:.3f}"
        )
    unseen = report["unseen"]
    typer.echo(
        f"fitted on {report['count']}: expected error {report['rmse']:.3f} points "
        f"(RMSE, {report['method']})"
    )
    if unseen is not None:
        typer.echo(
            f"on {unseen['count']} unseen, by the images measured on: "
            f"RMSE {unseen['rmse']:.3f} points, "
            f"Spearman {unseen['spearman']:.3f}, Kendall {unseen['kendall']:.3f}"
        )
    typer.echo(
        f"next: `subnet-search search --supernet {name} --device DEVICE --latency-ms X`; `devices "
        "list` has the devices"
    )


def compare(
    name: SupernetArgument,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 2,
    json: Json = False,
) -> None:
    """Compare five subnets with the same networks trained from scratch (slow; resumable)."""
    from models.machine import keep_freed_memory
    from service.catalog.supernets import measure_sharing_gap

    keep_freed_memory()
    bundle = catalog().supernets.get(name)
    kept = if_stopped("finished networks are kept; the same command goes on")
    with kept, progress_bar(f"training networks of {name} alone") as show_share:
        rows = measure_sharing_gap(
            bundle,
            settings().home,
            threads=threads,
            on_step=lambda share, word: show_share(share, word),
        )
    if json:
        print_json(rows)
        return
    print_table(
        ("network", "alone", "in the supernet", "gap"),
        [
            (
                f"r{row['arch']['resolution']} d{row['arch']['depth']}",
                f"{row['alone_top1']:.2f}",
                f"{row['shared_top1']:.2f}",
                f"{row['gap']:+.2f}",
            )
            for row in rows
        ],
    )
    typer.echo(f"mean gap {sum(row['gap'] for row in rows) / len(rows):+.2f} points")

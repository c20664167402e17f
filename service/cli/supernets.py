"""`supernets`: list, show, download, import, train and measure supernets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import (
    From,
    Json,
    Server,
    SupernetArgument,
    catalog,
    check_out,
    places,
    print_warnings,
    settings,
)
from service.cli.completion import complete_recipe, complete_supernet
from service.cli.output import (
    can_in_words,
    print_json,
    print_next_steps,
    print_table,
    progress_bar,
)
from service.cli.source import open_source

if TYPE_CHECKING:
    from service.catalog.published import Downloaded
    from service.contracts import SupernetRead

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

FIT_SUBNETS, TEST_SUBNETS, FOUND_SUBNETS, SEARCHES = 1100, 200, 24, 200
"""Defaults of `service.catalog.supernets`, whose import would slow every command down."""


@app.command("list")
def list_(server: Server = None, json: Json = False) -> None:
    """List the supernets of this installation, or of a service."""
    with open_source(server) as source:
        items = source.supernets()
    if json:
        print_json([item.model_dump() for item in items])
    else:
        rows = [
            (i.name, i.space, f"{i.architectures:.3g}", i.searchable, can_in_words(i.capabilities))
            for i in items
        ]
        print_table(("name", "space", "architectures", "searchable", "can"), rows)
        for item in items:
            print_next_steps(item.next_steps)


@app.command()
def show(name: SupernetArgument, server: Server = None, json: Json = False) -> None:
    """Show one supernet: its space, its predictor, its card."""
    with open_source(server) as source:
        supernet = source.supernet(name)
    if json:
        print_json(supernet.model_dump())
        return
    typer.echo(f"{supernet.name}: {supernet.architectures:.3g} networks")
    typer.echo(f"weights sha256 {supernet.sha256}" if supernet.sha256 else "no weights imported")
    if (predictor := supernet.predictor) is None:
        typer.echo("no accuracy predictor: cannot be searched")
    else:
        typer.echo(f"accuracy predictor: {_expected_error(predictor)}; {predictor['target']}")
    for key in ("licence", "data", "metrics", "energy"):
        if key in supernet.card:
            typer.echo(f"{key}: {supernet.card[key]}")
    typer.echo(f"can now: {can_in_words(supernet.capabilities)}")
    print_next_steps(supernet.next_steps)


def _expected_error(predictor: Mapping[str, Any]) -> str:
    judged = predictor.get("found")
    error = predictor["rmse"] if judged is None else judged["rmse"]
    if error is None:
        return "expected error unknown"
    return (
        f"expected error {error:.2f} percentage points, "
        f"fitted on {predictor['count']} measured networks"
    )


@app.command("import")
def import_(
    name: Annotated[
        str,
        typer.Argument(
            help="A known supernet, such as ofa-mbv3-w1.0.", autocompletion=complete_supernet
        ),
    ],
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, or `none`.")],
    predictor: Annotated[Path | None, typer.Option(help="An accuracy predictor.")] = None,
    space: Annotated[
        Path | None, typer.Option(help="A space of your own; NAME is then new.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A folder of training images, one folder a class.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other weights.")] = False,
    searches: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of searches that explore the predictor once; later searches start from "
            "the best networks found.",
        ),
    ] = SEARCHES,
    json: Json = False,
) -> None:
    """Import a published checkpoint, a predictor, calibration images, or several of them."""
    from service.catalog.supernets import import_supernet

    warnings: list[str] = []
    with progress_bar("importing") as show_share:
        bundle = import_supernet(
            settings().home,
            name,
            None if checkpoint == "none" else Path(checkpoint),
            predictor=predictor,
            space_file=space,
            calibration=calibration,
            replace=replace,
            searches=searches,
            on_share=show_share,
            warn=warnings.extend,
        )
    print_warnings(warnings)
    if json:
        print_json({"name": name, "path": str(bundle.path), "files": bundle.card["files"]})
    else:
        typer.echo(f"{bundle.path}: {', '.join(bundle.card['files'])}")


@app.command()
def download(
    name: Annotated[
        str,
        typer.Argument(
            help="A published supernet, such as ofa-mbv3-w1.2.", autocompletion=complete_supernet
        ),
    ],
    from_: From = None,
    predictor_only: Annotated[
        bool, typer.Option("--predictor-only", help="Leave the weights out.")
    ] = False,
    searches: Annotated[int, typer.Option(min=0, help="As for `supernets import`.")] = SEARCHES,
    calibration: Annotated[
        Path | None,
        typer.Option(help="A folder of training images, one folder a class; needed to deliver."),
    ] = None,
    json: Json = False,
) -> None:
    """Download what was published of a supernet, prove it by its Git blob ids, and import it."""
    from models.errors import NotFound
    from models.published import published_supernets
    from service.catalog import describe_supernet
    from service.catalog.published import download_supernet

    known = published_supernets()
    if name not in known:
        raise NotFound.named("supernet to download", name, known)
    warnings: list[str] = []
    with progress_bar(f"downloading {name}") as show_share:
        done = download_supernet(
            settings().home,
            known[name],
            places(from_),
            only=from_ is not None,
            predictor_only=predictor_only,
            calibration=calibration,
            searches=searches,
            on_share=show_share,
            warn=warnings.extend,
        )
    print_warnings([*warnings, *done.notes])
    _echo_downloaded(done, describe_supernet(catalog(), name), json)


def _echo_downloaded(done: Downloaded, supernet: SupernetRead, json: bool) -> None:
    files = done.bundle.card["files"]
    if json:
        answer = {
            "name": supernet.name,
            "path": str(done.bundle.path),
            "files": files,
            "downloaded": [{"path": file.path, "git_blob": file.blob} for file in done.files],
        }
        print_json(answer | supernet.model_dump(include={"capabilities", "next_steps"}))
        return
    proved = [f"{file.name}: git blob id {file.blob}, as published" for file in done.files]
    for line in proved or [f"all that was published of {supernet.name} is here already"]:
        typer.echo(line)
    typer.echo(f"{done.bundle.path}: {', '.join(files)}")
    typer.echo(f"can now: {can_in_words(supernet.capabilities)}")
    print_next_steps(supernet.next_steps)


@app.command("export-checkpoint")
def export_checkpoint(
    name: SupernetArgument,
    out: Annotated[Path, typer.Option("-o", help="File to write.")],
    key_format: Annotated[
        str, typer.Option("--format", help="released or newer: the naming of the tensors.")
    ] = "newer",
    json: Json = False,
) -> None:
    """Write a supernet's weights as a checkpoint in a published format."""
    from service.catalog.supernets import write_checkpoint

    check_out(out, ".pth", ".pt", ".ckpt", ".tar", ".bin", what="a torch checkpoint")
    _echo_path(write_checkpoint(catalog().supernets.get(name), out, key_format), json)


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A shipped recipe's name, or a TOML file.", autocompletion=complete_recipe
        ),
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    json: Json = False,
) -> None:
    """Train a supernet by a recipe; also under torchrun."""
    from models.machine import keep_freed_memory
    from models.training import TrainingProgress, load_recipe
    from models.training import train as train_supernet

    keep_freed_memory()
    loaded, home = load_recipe(recipe), settings().home
    if int(os.environ.get("RANK", "0")) > 0:  # torchrun: one process reports
        train_supernet(loaded, home, resume=resume)
        return
    with progress_bar(loaded.name) as show_share:

        def on_progress(now: TrainingProgress) -> None:
            word = f"{now.phase} step {now.step}/{now.steps} loss {now.loss:.3f}"
            show_share(now.step / now.steps, word)

        def on_images(share: float, doing: str) -> None:
            show_share(0.0, f"decoding {doing}")

        path = train_supernet(
            loaded, home, resume=resume, on_progress=on_progress, on_images=on_images
        )
    _echo_path(path, json)


@app.command()
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
    threads: Annotated[int, typer.Option(min=1)] = 2,
    json: Json = False,
) -> None:
    """Measure many subnets on held-out images; an interrupted run continues."""
    from models.machine import keep_freed_memory
    from service.catalog.supernets import measure_subnets

    keep_freed_memory()
    bundle = catalog().supernets.get(name)
    with progress_bar(f"measuring subnets of {name}") as show_share:
        measure_subnets(
            bundle,
            settings().home,
            fit_count=fit,
            test_count=test,
            found_count=found,
            threads=threads,
            on_measured=lambda done, total: show_share(done / total, f"{done}/{total} subnets"),
        )
    _echo_path(bundle.path / "measured.jsonl.gz", json)


@app.command("fit-predictor")
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
    threads: Annotated[int, typer.Option(min=1)] = 2,
    json: Json = False,
) -> None:
    """Fit the accuracy predictor to measured subnets and print its error."""
    from models.machine import keep_freed_memory
    from service.catalog.supernets import fit_predictor, fit_predictor_to, fit_warnings

    keep_freed_memory()
    bundle = catalog().supernets.get(name)
    with progress_bar("fitting the predictor") as show_share:
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


@app.command()
def compare(
    name: SupernetArgument,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    json: Json = False,
) -> None:
    """Compare five subnets with the same networks trained from scratch (slow; resumable)."""
    from models.machine import keep_freed_memory
    from service.catalog.supernets import measure_sharing_gap

    keep_freed_memory()
    bundle = catalog().supernets.get(name)
    with progress_bar(f"training networks of {name} alone") as show_share:
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


def _echo_path(path: Path, json: bool) -> None:
    if json:
        print_json({"path": str(path)})
    else:
        typer.echo(str(path))

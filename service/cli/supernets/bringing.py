"""`supernets`: list, show, download, import and remove them."""

from __future__ import annotations

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
    if_stopped,
    places,
    print_warnings,
    settings,
)
from service.cli.completion import complete_supernet
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

SEARCHES = 48
"""The default of `service.catalog.supernets`, whose import would slow every command down."""


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


def remove(
    name: SupernetArgument,
    training: Annotated[
        bool,
        typer.Option("--training", help="Also the checkpoint of its training, which makes it."),
    ] = False,
    server: Server = None,
    json: Json = False,
) -> None:
    """Remove a supernet that you imported or trained. Finished searches and models stay."""
    with open_source(server) as source:
        found = source.remove_supernet(name, training=training)
    if json:
        print_json(found.model_dump())
        return
    what = ", ".join(found.files) or "the checkpoint of its training"
    typer.echo(f"removed of {name}: {what}; {found.freed_bytes} bytes")
    typer.echo("finished searches and their models stay")
    if found.training_kept:
        typer.echo(
            "the checkpoint of its training is kept: `subnet-search supernets train RECIPE "
            "--resume` makes the supernet again; `supernets remove NAME --training` removes it"
        )
    if found.still_known:
        typer.echo(f"{name} is still known: `subnet-search supernets show {name}`")


def _expected_error(predictor: Mapping[str, Any]) -> str:
    judged = predictor.get("found")
    error = predictor["rmse"] if judged is None else judged["rmse"]
    if error is None:
        return "expected error unknown"
    return (
        f"expected error {error:.2f} percentage points, "
        f"fitted on {predictor['count']} measured networks"
    )


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
            help="Number of made-up devices on which the predictor is explored once; later "
            "searches start from the best networks found.",
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
        typer.echo(f"next: `subnet-search supernets show {name}` says what it can do now")


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
    kept = if_stopped("what was downloaded is kept; the same command goes on")
    with kept, progress_bar(f"downloading {name}") as show_share:
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
    echo_path(write_checkpoint(catalog().supernets.get(name), out, key_format), json)


def echo_path(path: Path, json: bool) -> None:
    """Say what was written."""
    if json:
        print_json({"path": str(path)})
    else:
        typer.echo(str(path))

"""`networks import` and `remove`: networks that come back after fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError
from service.cli.common import Json, catalog, print_warnings, settings
from service.cli.completion import complete_device, complete_imported
from service.cli.output import print_json, progress_bar
from service.contracts import measured_in_words


def import_(
    folder: Annotated[
        Path, typer.Argument(help="As `export --format torch` wrote it; its programs are not run.")
    ],
    name: Annotated[
        str | None, typer.Option(help="To keep it under. Default: the folder's own name.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where it will run: its latency there is predicted, and timed if it is here.",
            autocompletion=complete_device,
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of class folders to measure its accuracy on.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring back a fine-tuned torch folder: check it, and keep it as a verified ONNX file."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder that `export --format torch` wrote")
    from models.machine import cores
    from service.delivery import import_network

    with progress_bar("importing") as show_share:
        record = import_network(
            catalog(),
            folder,
            name or folder.resolve().name.lower(),
            device=device,
            images=images,
            threads=settings().threads or cores(),
            on_share=show_share,
        )
    print_warnings(record["warnings"])
    if json:
        print_json(record)
    else:
        _print_imported(record)


def _print_imported(record: Mapping[str, Any]) -> None:
    id, verified, predicted = record["id"], record["verified"], record["predicted"]
    typer.echo(
        f"imported {id}: {record['classes']} classes, {record['model_bytes']} bytes of ONNX; "
        f"`subnet-search networks export {id} -o FILE.onnx` writes it"
    )
    if (top1 := verified["top1"]) is not None:
        typer.echo(
            f"top1 {top1['value']:.2f} +- {top1['expected_error']:.2f}, measured on "
            f"{top1['images']} images of yours"
        )
    if (ms := predicted["latency_ms"]) is not None:
        typer.echo(f"latency_ms {ms:.4g} predicted on {record['device']}")
    if measured := verified.get("latency_ms"):
        typer.echo(measured_in_words(measured))


def remove(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Of an import.", autocompletion=complete_imported),
    ],
    json: Json = False,
) -> None:
    """Forget an imported network, and remove its files."""
    from service.catalog import ImportedNetworks

    ImportedNetworks(settings().home).remove(name)
    if json:
        print_json({"removed": name})
    else:
        typer.echo(f"removed {name}")

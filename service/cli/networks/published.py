"""`networks list` and `export`: networks with weights of their own, published or imported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from service.cli.common import From, Json, Server, catalog, if_stopped, places, settings
from service.cli.completion import complete_device, complete_network
from service.cli.networks.exporting import check_target, print_folder
from service.cli.networks.options import FeaturesOption, FormatOption
from service.cli.output import print_json, print_table, progress_bar, short
from service.cli.source import open_source

if TYPE_CHECKING:
    from service.contracts import NetworkSummary


def list_(
    device: Annotated[
        str | None,
        typer.Option(help="Only those for this device.", autocompletion=complete_device),
    ] = None,
    imported: Annotated[
        bool, typer.Option("--imported", help="Those that were fine-tuned and imported here.")
    ] = False,
    server: Server = None,
    json: Json = False,
) -> None:
    """List the networks that the authors of Once-for-All published, beside what is predicted."""
    if imported:
        if server is not None:
            raise InputError("--imported: imported networks are of one machine, without --server")
        _list_imported(device, json)
        return
    with open_source(server) as source:
        items = source.networks(device)
    if json:
        print_json([item.model_dump(mode="json") for item in items])
        return
    if not items:
        typer.echo(f"no network was published for {device}", err=True)
        return
    columns = ("id", "device", "batch", "ms", "ms here", "top1", "top1 here", "macs", "params")
    print_table(columns, [_row(item) for item in items])
    typer.echo(
        "ms and top1 are published, top1 on ImageNet's validation images after fine-tuning; ms here"
        " and top1 here are predicted, for the supernet's own weights",
        err=True,
    )
    errors = [i.predicted.latency_expected_error for i in items]
    if known := [error for error in errors if error is not None]:
        ends = dict.fromkeys(f"{error:.1%}" for error in (min(known), max(known)))
        typer.echo(f"expected error of ms here: {' to '.join(ends)}", err=True)
    targets = {i.predicted.top1_stands_for for i in items} - {None}
    for target in sorted(filter(None, targets)):
        typer.echo(f"top1 here stands for {target}", err=True)


def _row(item: NetworkSummary) -> tuple[object, ...]:
    published, predicted = item.published, item.predicted
    return (
        item.id,
        item.device or "none",
        published.batch or "none",
        short(published.latency_ms),
        short(predicted.latency_ms),
        f"{published.top1:.1f}",
        short(predicted.top1),
        item.macs,
        item.params,
    )


def export(
    id: Annotated[
        str,
        typer.Argument(metavar="ID", help="See `networks list`.", autocompletion=complete_network),
    ],
    out: Annotated[Path, typer.Option("-o", help="File to write, or new folder.")],
    from_: From = None,
    format: FormatOption = "onnx",
    features: FeaturesOption = False,
    json: Json = False,
) -> None:
    """Write a network as a checked file: a published one, downloaded and proved, or an imported
    one."""
    from models.machine import cores, write_atomically, write_folder
    from models.published import published_network
    from service.catalog import ImportedNetworks
    from service.catalog.published import describe_network
    from service.delivery import export_published, export_published_torch

    check_target(out, format)
    configured = settings()
    if id in ImportedNetworks(configured.home).names():
        _export_imported(id, out, format, features, json)
        return
    network = published_network(id)
    described = describe_network(catalog(), network.id)
    asked = (network, described, configured.home, places(from_))
    kept = if_stopped("what was downloaded is kept; the same command goes on")
    with kept, progress_bar("exporting") as show_share:
        how: dict[str, Any] = {"only": from_ is not None, "features": features}
        how["on_share"] = show_share
        if format == "torch":
            folder = export_published_torch(*asked, **how)
            write_folder(out, folder.files)
            print_folder(out, folder, json)
            return
        made = export_published(*asked, threads=configured.threads or cores(), **how)
    write_atomically(out, made.model)
    sha256 = hashlib.sha256(made.model).hexdigest()
    if json:
        print_json(
            {
                "id": network.id,
                "path": str(out),
                "sha256": sha256,
                "model_bytes": len(made.model),
                "verified": made.findings,
                "published": described.published.model_dump(mode="json"),
                "predicted": described.predicted.model_dump(mode="json"),
                "warnings": list(made.warnings),
            }
        )
        return
    typer.echo(f"{out}: {len(made.model)} bytes, sha256 {sha256}")
    typer.echo(
        f"top1 {described.published.top1} is published: on ImageNet's validation images, after "
        f"{described.published.finetune_epochs} epochs of fine-tuning; it was not measured here"
    )


def _list_imported(device: str | None, json: bool) -> None:
    from service.catalog import ImportedNetworks

    store = ImportedNetworks(settings().home)
    records = [store.get(name) for name in store.names()]
    records = [record for record in records if device in (None, record["device"])]
    if json:
        print_json(records)
        return
    if not records:
        typer.echo("no network was imported: `subnet-search networks import` does so", err=True)
        return
    columns = ("id", "of", "classes", "device", "ms here", "top1, measured", "macs", "params")
    print_table(columns, [_imported_row(record) for record in records])


def _imported_row(record: Mapping[str, Any]) -> tuple[object, ...]:
    top1 = record["verified"]["top1"]
    return (
        record["id"],
        record["supernet"],
        record["classes"],
        record["device"] or "none",
        short(record["predicted"]["latency_ms"]),
        "unknown" if top1 is None else f"{top1['value']:.2f} of {top1['images']} images",
        record["macs"],
        record["params"],
    )


def _export_imported(id: str, out: Path, format: str, features: bool, json: bool) -> None:
    """Write the file that was verified when the network was imported."""
    from models.machine import write_atomically
    from service.catalog import IMPORTED_MODEL, ImportedNetworks

    store = ImportedNetworks(settings().home)
    record = store.get(id)
    if format != "onnx":
        text = "an imported network is written as ONNX; the folder that it came from is the other"
        raise InputError(f"{id}: {text}")
    if features and not record["features"]:
        raise InputError(f"{id}: it was exported without --features, so its file has none")
    model = store.content(id, IMPORTED_MODEL)
    write_atomically(out, model)
    sha256 = hashlib.sha256(model).hexdigest()
    if json:
        print_json(
            {
                "id": id,
                "path": str(out),
                "sha256": sha256,
                "model_bytes": len(model),
                "verified": record["verified"],
                "predicted": record["predicted"],
                "warnings": record["warnings"],
            }
        )
        return
    typer.echo(f"{out}: {len(model)} bytes, sha256 {sha256}")

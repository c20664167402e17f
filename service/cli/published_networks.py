"""`networks`: what others published, each with weights of its own: list and export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import From, Json, Server, catalog, check_out, places, settings
from service.cli.completion import complete_device, complete_network
from service.cli.output import print_json, print_table, progress_bar, short
from service.cli.source import open_source

if TYPE_CHECKING:
    from service.contracts import NetworkSummary

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    device: Annotated[
        str | None,
        typer.Option(help="Only those for this device.", autocompletion=complete_device),
    ] = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """List the networks that the authors of Once-for-All published, beside what is predicted."""
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


@app.command()
def export(
    id: Annotated[
        str,
        typer.Argument(metavar="ID", help="See `networks list`.", autocompletion=complete_network),
    ],
    out: Annotated[Path, typer.Option("-o", help="File to write.")],
    from_: From = None,
    json: Json = False,
) -> None:
    """Download a published network, prove it, and write it as a checked ONNX file."""
    from models.machine import cores, write_atomically
    from models.published import published_network
    from service.catalog.published import describe_network
    from service.delivery import export_published

    check_out(out, ".onnx", what="an ONNX model")
    network, configured = published_network(id), settings()
    described = describe_network(catalog(), network.id)
    with progress_bar("exporting") as show_share:
        made = export_published(
            network,
            described,
            configured.home,
            places(from_),
            only=from_ is not None,
            threads=configured.threads or cores(),
            on_share=show_share,
        )
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

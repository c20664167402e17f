"""`export`: one network of a supernet as an ONNX file or as a torch folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from service.cli.common import Json, SupernetName, catalog, check_out, print_warnings, settings
from service.cli.completion import complete_device
from service.cli.networks.architectures import read_arch
from service.cli.networks.options import (
    AllowLowTop1,
    FeaturesOption,
    FileBatchOption,
    FormatOption,
    PrecisionName,
    RuntimeName,
    check_precision,
    read_batch,
)
from service.cli.output import print_json, progress_bar
from service.contracts import images_in_words, providers_in_words, timing_in_words

if TYPE_CHECKING:
    from service.cli.source import Source
    from service.delivery import TorchExport, VerifiedModel


def export(  # long: a parameter for each option
    supernet: SupernetName,
    arch: Annotated[Path, typer.Option(help="An architecture, or what `search --json` printed.")],
    out: Annotated[Path, typer.Option("-o", help="File to write, or new folder.")],
    device: Annotated[
        str | None,
        typer.Option(
            help="Where it will run: the file states its latency there, measured if it is here.",
            autocompletion=complete_device,
        ),
    ] = None,
    runtime: RuntimeName = None,
    precision: PrecisionName = "fp32",
    batch: FileBatchOption = None,
    format: FormatOption = "onnx",
    features: FeaturesOption = False,
    no_recalibrate: Annotated[
        bool, typer.Option("--no-recalibrate", help="Keep the supernet's batch-norm statistics.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(help="A folder of training images to recalibrate with.")
    ] = None,
    allow_low_top1: AllowLowTop1 = False,
    json: Json = False,
) -> None:
    """Write one network as a checked ONNX file, or as a folder that needs only torch."""
    check_precision(precision)
    check_target(out, format, precision, batch)
    if device is None and runtime is not None:
        raise InputError("--runtime is of a device: name it with --device")
    context = catalog().context(supernet, device, None if device is None else precision, runtime)
    images = read_batch(batch)
    chosen = read_arch(arch, context.bundle.space)
    from models.machine import write_folder
    from service.delivery import ModelBuilder, deliverable_batch, export_torch

    with progress_bar("exporting") as show_share:
        builder = ModelBuilder(
            context.bundle,
            threads=settings().threads,
            calibration=calibration,
            home=settings().home,
        )
        how: dict[str, Any] = {
            "recalibrate": not no_recalibrate,
            "features": features,
            "report": lambda step, share: show_share(share, step),
            "allow_low_top1": allow_low_top1,
        }
        if format == "torch":
            folder = export_torch(builder, context, chosen, **how)
            write_folder(out, folder.files)
            print_folder(out, folder, json)
            return
        fixed = deliverable_batch(images, context.table)
        made = builder.make(context, chosen, precision=precision, batch=fixed, **how)
    answer = keep_model(out, made)
    if json:
        print_json(answer)
    else:
        print_export(answer)


def keep_found(source: Source, answer: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write the file that a search has built and checked; what `search --json` prints of it."""
    with progress_bar("writing the file") as show_share:
        source.keep_found(answer, out, show_share)
    content = out.read_bytes()
    return {
        "path": str(out),
        **_stated(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "model_bytes": len(content),
        "verified": answer["verified"],
        **({"file": answer["file"]} if "file" in answer else {}),
        "warnings": answer["warnings"],
    }


def keep_model(out: Path, made: VerifiedModel) -> dict[str, Any]:
    """Write an ONNX file; what `export --json` prints of it. Warnings are printed here."""
    from models.machine import write_atomically

    write_atomically(out, made.model)
    print_warnings(made.warnings)
    return {
        "path": str(out),
        **_stated(made.model),
        "sha256": hashlib.sha256(made.model).hexdigest(),
        "model_bytes": len(made.model),
        "verified": made.findings,
        "file": made.about,
        "warnings": list(made.warnings),
    }


def _stated(model: bytes) -> dict[str, Any]:
    """What a file states of itself beside its checks, and what it does not."""
    import onnx

    from service.delivery import read_stated

    stated = read_stated(onnx.load_from_string(model))
    told = {name: stated[name] for name in ("device", "predicted", "classes", "not_stated")}
    if stated["classes"] is None:
        told["not_stated"]["classes"] = "the card of the supernet does not name them"
    return told


def check_target(out: Path, format: str, precision: str = "fp32", batch: str | None = None) -> None:
    """Check that something of that format can be written at `out`.

    Raises:
        InputError: if not, or for an option that the format does not have.
    """
    if format not in ("onnx", "torch"):
        raise InputError(f"--format: expected onnx or torch, got {format!r:.40}")
    if format == "onnx":
        check_out(out, ".onnx", what="an ONNX model")
        return
    if precision != "fp32":
        raise InputError(
            f"--precision: a torch folder is for training, at fp32; got {precision}: export the "
            f"ONNX file at {precision} (--format onnx)"
        )
    if batch not in (None, "dynamic"):
        raise InputError(
            f"--batch: a torch folder takes any number of images, got {batch!r:.40}; an ONNX file "
            "can be fixed to a number (--format onnx)"
        )
    if out.suffix.lower() == ".onnx":
        raise InputError(f"{out}: expected the name of a folder, since --format torch writes one")
    from models.torch_folder import check_new_folder

    check_new_folder(out)


def print_folder(out: Path, folder: TorchExport, json: bool) -> None:
    """What was written, and what was found of it."""
    print_warnings(folder.warnings)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in folder.files.items()}
    if json:
        print_json(
            {
                "path": str(out),
                "files": hashes,
                "verified": folder.findings,
                "warnings": list(folder.warnings),
            }
        )
        return
    typer.echo(f"{out}: {', '.join(folder.files)}")
    if folder.findings["top1"] is not None:
        _print_top1(folder.findings["top1"])
    off = folder.findings["model_py"]
    typer.echo(
        f"model.py gives the network's logits on {off['images']} images; the largest difference is "
        f"{off['max_difference']:.2g}"
    )


def print_export(answer: Mapping[str, Any]) -> None:
    """Where a file is, and what was found of it."""
    verified = answer["verified"]
    typer.echo(f"{answer['path']}: {answer['model_bytes']} bytes, sha256 {answer['sha256']}")
    _print_top1(verified["top1"])
    predicted = answer["predicted"]
    if (ms := predicted.get("latency_ms")) is not None:
        batch = images_in_words(predicted["provenance"]["latency_ms"]["conditions"]["batch"])
        typer.echo(f"latency_ms {ms:.4g}{batch} predicted on {answer['device']}")
    for line in timing_in_words(verified):
        typer.echo(line)
    for name, why in answer["not_stated"].items():
        typer.echo(f"the file states no {name}: {why}")
    if words := providers_in_words(answer.get("file", {})):
        typer.echo(words)
    if (lost := verified.get("quantization", {}).get("lost_points")) is not None:
        typer.echo(f"int8 lost {lost:+.2f} points of that")


def _print_top1(top1: Mapping[str, Any] | None) -> None:
    if top1 is None:
        typer.echo("top1 was not measured: the supernet has no held-out images")
    else:
        typer.echo(
            f"top1 {top1['value']:.2f} +- {top1['expected_error']:.2f}, measured on "
            f"{top1['images']} held-out images"
        )

"""`predict`, `search`, `front` and `export`: networks of a supernet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import Infeasible, InputError, InvalidDocument, show_value
from service.cli.common import (
    DeviceName,
    Json,
    Server,
    SupernetName,
    catalog,
    check_out,
    print_warnings,
    read_json,
    settings,
)
from service.cli.completion import complete_device
from service.cli.limits import LimitOptions
from service.cli.output import (
    ArchFormat,
    in_arch_format,
    latency_names,
    print_doubts,
    print_json,
    print_plot,
    print_search,
    print_table,
    progress_bar,
    short,
)
from service.cli.source import Source, open_source
from service.contracts import MAX_BATCH, measured_in_words, providers_in_words, under_runtime

if TYPE_CHECKING:
    from models.spaces import Arch, SearchSpace
    from service.contracts import FileBatch

PrecisionName = Annotated[str, typer.Option("--precision", help="Of the file: fp32 or int8.")]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="What will run the network: refused if the device was measured with another one.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same answer.")]
FileBatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="N|dynamic",
        help="Images that the file is fixed to, as mobile runtimes need it. Default: any number, "
        "unless the device was measured by such a provider.",
    ),
]
AllowLowTop1 = Annotated[
    bool,
    typer.Option(
        "--allow-low-top1",
        help="Take a file also if its measured accuracy is far below the predicted one.",
    ),
]


def predict(
    supernet: SupernetName,
    archs: Annotated[Path, typer.Option(help="A JSON list of architectures.")],
    device: Annotated[
        str | None,
        typer.Option(
            help="See `devices list`. Default: none, and no latency.",
            autocompletion=complete_device,
        ),
    ] = None,
    arch_format: ArchFormat = "ours",
    json: Json = False,
) -> None:
    """Predict accuracy and latency of given networks; count MACs and parameters."""
    context = catalog().context(supernet, device)
    rows = context.predict(_read_archs(archs, context.bundle.space))
    if json:
        print_json(in_arch_format(rows, arch_format, context.bundle.space.to_json()))
    else:
        columns = latency_names(context.batch) if device else {}
        names = ["top1", *columns, "macs", "params"]
        heads = [columns.get(name, name) for name in names]
        print_table(heads, [[short(row[name]) for name in names] for row in rows])
        _echo_provenance(context.provenance())
    print_doubts(context.provenance())


@LimitOptions
def search(
    supernet: SupernetName,
    device: DeviceName,
    latency_ms: Annotated[float, typer.Option(help="Budget, milliseconds.")],
    limits: Mapping[str, float],
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Limit the latency's upper bound at this nominal confidence, such as 0.9."
        ),
    ] = None,
    precision: PrecisionName = "fp32",
    runtime: RuntimeName = None,
    seed: Seed = 0,
    batch: FileBatchOption = None,
    allow_low_top1: AllowLowTop1 = False,
    arch_format: ArchFormat = "ours",
    server: Server = None,
    json: Json = False,
) -> None:
    """Find the most accurate network within budgets."""
    _check_precision(precision)
    given, images = {"latency_ms": latency_ms, **limits}, _read_batch(batch)
    if confidence is not None:
        given["latency_confidence"] = confidence
    try:
        with open_source(server) as source, progress_bar("searching") as show_share:
            answer = source.search(
                supernet,
                device,
                given,
                precision,
                seed,
                show_share,
                allow_low_top1=allow_low_top1,
                runtime=runtime,
                batch=images,
            )
            printed = _printed(answer, arch_format, source, supernet)
    except Infeasible as error:
        if json:
            print_json(_infeasible(error, seed))
        raise
    if json:
        print_json(printed)
    else:
        print_search(answer, printed["arch"])
    print_doubts(answer["provenance"])
    print_warnings(answer["warnings"])


def front(
    supernet: SupernetName,
    device: DeviceName,
    latency_ms: Annotated[
        float | None, typer.Option(help="Only the most accurate network within this budget.")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Limit the latency's upper bound at this nominal confidence, such as 0.9."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the device's table. Default: fp32 before others.")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it in the terminal.")] = False,
    arch_format: ArchFormat = "ours",
    server: Server = None,
    json: Json = False,
) -> None:
    """List the networks that no other network beats in both latency and accuracy."""
    if plot and json:
        raise InputError("--plot is for people and --json for programs: choose one")
    with open_source(server) as source, progress_bar("computing the front") as show_share:

        def ask(budget_ms: float | None) -> dict[str, Any]:
            return source.front(
                supernet, device, budget_ms, show_share, confidence=confidence, precision=precision
            )

        answer = ask(latency_ms)
        whole = ask(None) if plot else answer
        printed = _printed(answer, arch_format, source, supernet)
    print_warnings(answer["warnings"])
    if json:
        print_json(printed)
        print_doubts(answer["provenance"])
        return
    if plot:
        print_plot(whole["points"], latency_ms, whole["batch"], whole["runtime"])
    if not plot or latency_ms is not None:
        points = answer["points"]
        columns = latency_names(answer["batch"])
        names = [*columns, "latency_upper_ms", "top1", "macs", "params"]
        if not all(point.get("latency_upper_ms") for point in points):
            names.remove("latency_upper_ms")
        heads = [columns.get(name, name) for name in names]
        print_table(heads, [[short(point[name]) for name in names] for point in points])
    _echo_provenance(answer["provenance"])
    print_doubts(answer["provenance"])


def export(  # long: a parameter for each option
    supernet: SupernetName,
    arch: Annotated[Path, typer.Option(help="An architecture, or what `search --json` printed.")],
    out: Annotated[Path, typer.Option("-o", help="File to write.")],
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
    no_recalibrate: Annotated[
        bool, typer.Option("--no-recalibrate", help="Keep the supernet's batch-norm statistics.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(help="A folder of training images to recalibrate with.")
    ] = None,
    allow_low_top1: AllowLowTop1 = False,
    json: Json = False,
) -> None:
    """Write one network as a checked ONNX file."""
    _check_precision(precision)
    check_out(out, ".onnx", what="an ONNX model")
    if device is None and runtime is not None:
        raise InputError("--runtime is of a device: name it with --device")
    context = catalog().context(supernet, device, None if device is None else precision, runtime)
    images = _read_batch(batch)
    chosen = _read_arch(arch, context.bundle.space)
    from models.machine import write_atomically
    from service.delivery import ModelBuilder, deliverable_batch

    fixed = deliverable_batch(images, context.table)

    with progress_bar("exporting") as show_share:
        builder = ModelBuilder(
            context.bundle,
            threads=settings().threads,
            calibration=calibration,
            home=settings().home,
        )
        made = builder.make(
            context,
            chosen,
            precision=precision,
            recalibrate=not no_recalibrate,
            batch=fixed,
            report=lambda step, share: show_share(share, step),
            allow_low_top1=allow_low_top1,
        )
    write_atomically(out, made.model)
    print_warnings(made.warnings)
    answer = {
        "path": str(out),
        "sha256": hashlib.sha256(made.model).hexdigest(),
        "model_bytes": len(made.model),
        "verified": made.findings,
        "file": made.about,
        "warnings": list(made.warnings),
    }
    if json:
        print_json(answer)
    else:
        _print_export(answer)


def _print_export(answer: Mapping[str, Any]) -> None:
    verified = answer["verified"]
    typer.echo(f"{answer['path']}: {answer['model_bytes']} bytes, sha256 {answer['sha256']}")
    if (top1 := verified["top1"]) is None:
        typer.echo("top1 was not measured: the supernet has no held-out images")
    else:
        typer.echo(
            f"top1 {top1['value']:.2f} +- {top1['expected_error']:.2f}, measured on "
            f"{top1['images']} held-out images"
        )
    if measured := verified.get("latency_ms"):
        typer.echo(measured_in_words(measured))
    if words := providers_in_words(answer["file"]):
        typer.echo(words)
    if (lost := verified.get("quantization", {}).get("lost_points")) is not None:
        typer.echo(f"int8 lost {lost:+.2f} points of that")


def _printed(answer: dict[str, Any], arch_format: str, source: Source, supernet: str) -> Any:
    """The answer with its architectures as they are asked for."""
    if arch_format == "ours":
        return answer
    return in_arch_format(answer, arch_format, source.supernet(supernet).space)


def _read_batch(text: str | None) -> FileBatch | None:
    if text is None or text == "dynamic":
        return text  # type: ignore[return-value]  # mypy does not narrow a str to the literal
    if text.isdecimal() and 1 <= int(text[:9]) <= MAX_BATCH:
        return int(text)
    raise InputError(f"--batch: expected 1 to {MAX_BATCH}, or dynamic, got {text!r:.40}")


def _check_precision(precision: str) -> None:
    if precision not in ("fp32", "int8"):
        raise InputError(f"precision: expected fp32 or int8, got {precision!r}")


def _read_archs(path: Path, space: SearchSpace) -> list[Arch]:
    from models.schema import read_each
    from models.spaces import ArchReader

    reader = ArchReader(space)

    def read(value: object) -> list[Arch]:
        if isinstance(value, Mapping):
            return [reader(_with_image_size(value, path))]
        if not isinstance(value, list):
            text = f"expected a JSON list of architectures, got {show_value(value)}"
            raise InvalidDocument.at("archs", (), text)
        return read_each(value, reader, "archs")

    archs = read_json(path).read(read)
    print_warnings(f"{path}: {text}" for text in reader.warnings)
    return archs


def _read_arch(path: Path, space: SearchSpace) -> Arch:
    from models.schema import read_member
    from models.spaces import ArchReader

    reader = ArchReader(space)

    def read(value: object) -> Arch:
        if isinstance(value, Mapping) and "arch" in value:
            return read_member(value, "arch", reader, "search")
        return reader(_with_image_size(value, path))

    arch = read_json(path).read(read)
    print_warnings(f"{path}: {text}" for text in reader.warnings)
    return arch


def _with_image_size(value: object, path: Path) -> object:
    """A `net.config` with the resolution, which its publisher put into the `run.config` beside it;
    any other value as it is."""
    from models.spaces import lacks_resolution

    beside = path.with_name("run.config")
    if not lacks_resolution(value) or not beside.is_file():
        return value
    run = read_json(beside).value
    assert isinstance(value, Mapping)
    if not isinstance(run, Mapping) or "image_size" not in run:
        raise InputError(f"{beside}: expected an object with 'image_size', the resolution")
    return {**value, "image_size": run["image_size"]}


def _infeasible(error: Infeasible, seed: int) -> dict[str, Any]:
    return {
        "feasible": False,
        "limit": error.limit,
        "budget": error.budget,
        "floor": error.floor,
        "nearest": error.nearest,
        "seed": seed,
    }


def _echo_provenance(sources: Mapping[str, Any]) -> None:
    """Print the expected errors of predicted numbers, on stderr."""
    for name, unit in (("top1", " percentage points"), ("latency_ms", " of the latency")):
        if (source := sources.get(name)) is not None:
            error = source["expected_error"]
            words = "unknown" if error is None else f"{error:.3g}{unit}"
            how = under_runtime(source.get("conditions", {}).get("runtime"))
            typer.echo(f"{name} is {source['origin']}{how}, expected error {words}", err=True)
    if "top1" in sources:
        typer.echo(f"top1 stands for {sources['top1']['predictor']['target']}", err=True)

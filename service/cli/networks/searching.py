"""`predict`, `search` and `front`: networks of a supernet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import Infeasible, InputError
from service.cli.common import (
    DeviceName,
    Json,
    Server,
    SupernetName,
    catalog,
    check_out,
    print_warnings,
)
from service.cli.completion import complete_device
from service.cli.devices import measure_unknown
from service.cli.limits import LIMIT, LimitOptions, read_kept, read_limit
from service.cli.networks.architectures import read_archs
from service.cli.networks.exporting import keep_found, print_export
from service.cli.networks.options import (
    AllowLowTop1,
    FileBatchOption,
    PrecisionName,
    RuntimeName,
    check_precision,
    read_batch,
    read_effort,
)
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
from service.contracts import under_runtime

Seed = Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same answer.")]


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
    rows = context.predict(read_archs(archs, context.bundle.space))
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
def search(  # long: a parameter for each option
    supernet: SupernetName,
    device: DeviceName,
    limits: Mapping[str, Any],
    latency_ms: Annotated[
        Any,
        typer.Option(
            help="Budget, milliseconds; default: none. Like every budget also a share of the "
            "largest network, 60%, or a range, 20..25.",
            parser=read_limit,
            metavar=LIMIT,
        ),
    ] = None,
    min_top1: Annotated[
        float | None,
        typer.Option(
            help="Instead of the most accurate network, the fastest of at least this predicted "
            "accuracy, percent."
        ),
    ] = None,
    minimize: Annotated[
        str, typer.Option(help="With --min-top1: what to minimize, by the name of its limit.")
    ] = "latency_ms",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GENES=CHOICES",
            help="Keep only these choices: kernel=3,5, resolution=160, stage2.depth=3, "
            "stage2_block1.expand=6, stage2.blocks=5x4,7x6. Repeatable.",
        ),
    ] = None,
    freeze: Annotated[
        Path | None,
        typer.Option(help='The same as a JSON object: {"kernel": [3, 5], "stage2.depth": 3}.'),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Limit the latency's upper bound at this nominal confidence, such as 0.9."
        ),
    ] = None,
    precision: PrecisionName = "fp32",
    runtime: RuntimeName = None,
    effort: Annotated[
        str,
        typer.Option(
            help="How many networks are evaluated: quick, normal or thorough, about 0.1, 0.5 and "
            "3 s on a core."
        ),
    ] = "normal",
    seed: Seed = 0,
    batch: FileBatchOption = None,
    allow_low_top1: AllowLowTop1 = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="If the device has no table for the supernet, measure this machine under its name "
            "first, for a minute.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", help="Also write the network as a checked ONNX file.")
    ] = None,
    arch_format: ArchFormat = "ours",
    server: Server = None,
    json: Json = False,
) -> None:
    """Find the most accurate network within budgets, or the fastest of an accuracy; write it with
    -o."""
    check_precision(precision)
    given, images = _limits(latency_ms, limits, confidence), read_batch(batch)
    target = None if min_top1 is None else {"top1": min_top1, "minimize": minimize}
    if target is None and minimize != "latency_ms":
        raise InputError("--minimize: expected it with --min-top1, the accuracy to reach")
    frozen, tried = read_kept(keep or [], freeze), read_effort(effort)
    if out is not None:
        check_out(out, ".onnx", what="an ONNX model")
    if measure:
        if server is not None:
            raise InputError("--measure is of this machine: leave --server out, or measure before")
        measure_unknown(
            supernet, device, precision, runtime, images if isinstance(images, int) else 1
        )
    title = "searching" if out is None else "searching, and building the file"
    with open_source(server) as source:
        try:
            with progress_bar(title) as show_share:
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
                    target=target,
                    frozen=frozen,
                    effort=tried,
                    build=out is not None,
                )
                printed = _printed(answer, arch_format, source, supernet)
        except Infeasible as error:
            if json:
                print_json(_infeasible(error, seed))
            raise
        file = None if out is None else keep_found(source, answer, out)
    if json:
        print_json(printed if file is None else {**printed, "export": file})
    elif file is None:
        print_search(answer, printed["arch"])
    else:
        print_search({**answer, "verified": {}}, printed["arch"])
        print_export(file)  # which says how it was verified
    print_doubts(answer["provenance"])
    print_warnings(answer["warnings"])


def _limits(latency_ms: Any, limits: Mapping[str, Any], confidence: float | None) -> dict[str, Any]:
    """The limits given, as a request has them."""
    latency = {} if latency_ms is None else {"latency_ms": latency_ms}
    if confidence is None:
        return {**latency, **limits}
    if not latency:
        raise InputError("--confidence: expected it with --latency-ms, whose upper bound it is of")
    return {**latency, **limits, "latency_confidence": confidence}


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


def _printed(answer: dict[str, Any], arch_format: str, source: Source, supernet: str) -> Any:
    """The answer with its architectures as they are asked for."""
    if arch_format == "ours":
        return answer
    return in_arch_format(answer, arch_format, source.supernet(supernet).space)


def _infeasible(error: Infeasible, seed: int) -> dict[str, Any]:
    return {
        "feasible": False,
        "limit": error.limit,
        "budget": error.budget,
        **({"floor": error.floor} if error.ceiling is None else {"ceiling": error.ceiling}),
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

"""`devices measure` and `devices kit`: tables from this machine, and from others."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import Conflict, InputError
from models.schema import NAME_WORDS, is_name
from service.cli.common import (
    MEASURE_S,
    Json,
    SupernetName,
    catalog,
    check_out,
    if_stopped,
    settings,
)
from service.cli.devices.listing import show_all
from service.cli.devices.remote import Python, Ssh, check_alone, measure_over_ssh
from service.cli.devices.sittings import add_sittings
from service.cli.output import print_json, progress_bar
from service.contracts import read_duration

if TYPE_CHECKING:
    from datetime import timedelta

    from latency_tables.benchmark import MeasureOptions
    from models.spaces import SearchSpace
    from service.catalog import Catalog

RuntimeName = Annotated[str, typer.Option(help="What runs the networks, see `runtimes list`.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one inference.")]
Batch = Annotated[int, typer.Option(min=1, help="Images of one inference.")]
Batches = Annotated[
    list[int] | None,
    typer.Option(
        min=1,
        help="Images of one inference; repeatable: the first is measured as NAME, another one as "
        "NAME-batch-N. Default: 1.",
    ),
]
Precision = Annotated[str, typer.Option(help="fp32, or int8: networks quantized as delivered.")]
Resolutions = Annotated[
    list[int] | None,
    typer.Option(
        help="Input size to measure; repeatable. Default: all sizes that the predictor knows."
    ),
]
MAX_SITTINGS = 20
QUICK_S, QUICK_NETWORKS = 45.0, 20
"""Seconds and whole networks of a measurement that another command asks for."""
COUNTRY = "USA"
"""The energy meter needs a country; only its power is read, which does not depend on it."""

Networks = Annotated[
    int,
    typer.Option(
        min=1, help="Number of whole networks to time beside the layers, to estimate the error."
    ),
]


def measure(  # long: a parameter for each option
    name: Annotated[str, typer.Argument(help="Name for this machine, such as host.")],
    supernet: SupernetName,
    runtime: RuntimeName = "onnxruntime",
    provider: Annotated[
        str | None,
        typer.Option(
            help="The runtime's backend, such as ONNX Runtime's execution provider; options follow "
            "as NAME:key=value,key=value. Default: the CPU."
        ),
    ] = None,
    io: Annotated[
        str,
        typer.Option(
            help="Where input and output lie: host, copied by each inference, or device, in the "
            "memory of the provider."
        ),
    ] = "host",
    threads: Threads = 1,
    precision: Precision = "fp32",
    batch: Batches = None,
    target_s: Annotated[
        float, typer.Option(min=0, help="Seconds to measure for, each batch.")
    ] = MEASURE_S,
    networks: Networks = 40,
    resolution: Resolutions = None,
    sittings: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_SITTINGS,
            help="How often to time it: three or more tell how its speed drifts, for upper bounds.",
        ),
    ] = 1,
    apart: Annotated[
        str, typer.Option(metavar="DURATION", help="Between sittings: 90s, 10m, 2h.")
    ] = "10m",
    ssh: Ssh = None,
    python: Python = "python3",
    power_w: Annotated[
        float | None,
        typer.Option(
            help="Mean power under load, watts. Default: estimated during the measurement."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Measure this machine, or another over SSH; --resume continues an interrupted run."""
    from latency_tables.benchmark import MeasureOptions

    if ssh is not None:
        check_alone(sittings)
    known, folder = catalog(), settings().home / "measuring"
    space, between = _space(supernet, resolution), _duration(apart)
    devices = batch_devices(name, batch)
    work = [
        MeasureOptions(
            device=device,
            runtime=runtime,
            provider=provider,
            io=io,
            threads=threads,
            precision=precision,
            batch=images,
            target_s=target_s,
            networks=networks,
            partial=folder / f"{device}@{space.name}@{precision}.json",
        )
        for device, images in devices.items()
    ]
    if resume:
        work = _unfinished(known, space, work, sittings)
    for options in work:
        _check_start(known, space, options, resume=resume, replace=replace)
    with if_stopped("finished rounds are kept; the same command with --resume goes on"):
        if ssh is not None:
            how = {"resume": resume, "replace": replace}
            measure_over_ssh(known, space, work, ssh, python, power_w, **how)
        for options in work if ssh is None else ():
            if len(devices) > 1:
                typer.echo(f"batch {options.batch} is device {options.device}", err=True)
            _measure_here(known, space, options, power_w, replace=replace)
        for device in devices if ssh is None else ():
            kept = known.devices.kept(device, space.name, precision)
            add_sittings(supernet, kept, sittings, between, target_s)
    show_all(list(devices), json=json)
    if not json:
        first, asked = (
            next(iter(devices)),
            "" if precision == "fp32" else f" --precision {precision}",
        )
        typer.echo(
            f"measured {', '.join(devices)}; next: `subnet-search search --supernet {supernet} "
            f"--device {first}{asked} --latency-ms X`"
        )


def measure_unknown(
    supernet: str, device: str, precision: str, runtime: str | None, batch: int
) -> None:
    """Measure this machine as `device`, in about a minute, unless it has a table for the supernet;
    an interrupted measurement is gone on with."""
    from latency_tables.benchmark import MeasureOptions
    from latency_tables.published import BuiltinDevices

    known, space = catalog(), _space(supernet, None)
    options = MeasureOptions(
        device=device,
        runtime=runtime or "onnxruntime",
        precision=precision,
        batch=batch,
        target_s=QUICK_S,
        networks=QUICK_NETWORKS,
        partial=settings().home / "measuring" / f"{device}@{space.name}@{precision}.json",
    )
    if _is_measured(known, space, options):
        return
    if device in BuiltinDevices().names():
        raise InputError(
            f"--measure: {device!r} comes with the program and is not this machine: name this "
            "machine otherwise, such as host"
        )
    typer.echo(
        f"device {device!r} has no table for space {space.name!r}: measuring this machine for "
        f"{QUICK_S:.0f} s",
        err=True,
    )
    _measure_here(known, space, options, None, replace=False)


def batch_devices(name: str, batches: list[int] | None) -> dict[str, int]:
    """The batch of each device: the first has the name itself, another one NAME-batch-N."""
    first, *others = dict.fromkeys(batches or [1])
    return {name: first, **{f"{name}-batch-{images}": images for images in others}}


def _unfinished(
    known: Catalog, space: SearchSpace, work: list[MeasureOptions], sittings: int
) -> list[MeasureOptions]:
    """What an interrupted run has not measured yet: it may have stopped between sittings, or in
    another batch. All, if nothing is left to do."""
    rest, tables = [], []
    for each in work:
        assert each.partial is not None
        if each.partial.exists() or not _is_measured(known, space, each):
            rest.append(each)
        else:
            tables.append(known.devices.table(each.device, space.name, each.precision))
    more = any(1 + len(table.sittings) < sittings for table in tables)
    return rest if rest or more else work


def _is_measured(known: Catalog, space: SearchSpace, options: MeasureOptions) -> bool:
    return (space.name, options.precision) in known.devices.keys().get(options.device, ())


def _check_start(
    known: Catalog, space: SearchSpace, options: MeasureOptions, *, resume: bool, replace: bool
) -> None:
    name = options.device
    if not is_name(name):
        raise InputError(f"NAME: expected {NAME_WORDS}, got {name!r}")
    if not replace and _is_measured(known, space, options):
        raise Conflict(
            f"device {name!r} has a table for space {space.name!r} at {options.precision}: "
            "measure with --replace, or under another name"
        )
    assert options.partial is not None
    if options.partial.exists() and not resume:
        raise Conflict(
            f"{options.partial}: a measurement of device {name!r} is under way or was stopped: go "
            "on with --resume, or remove the file"
        )


def _measure_here(
    known: Catalog,
    space: SearchSpace,
    options: MeasureOptions,
    power_w: float | None,
    *,
    replace: bool,
) -> None:
    """Measure one table and keep it."""
    from latency_tables.benchmark import measure_space
    from models.machine import EnergyMeter

    partial = options.partial
    assert partial is not None
    partial.parent.mkdir(parents=True, exist_ok=True)
    with EnergyMeter(COUNTRY) as meter, progress_bar(f"measuring {space.name}") as show_share:
        table = measure_space(
            space,
            options=options,
            on_progress=lambda share, doing="": show_share(share, f"({doing})"),
            say=lambda text: typer.echo(text, err=True),
        )
        meter.read()
    power_w = power_w or meter.conditions["mean_power_w"] or None
    conditions = dataclasses.replace(table.conditions, power_w=power_w)
    # The rounds are removed once the table is stored: a refused one can be measured for longer.
    known.keep_device(dataclasses.replace(table, conditions=conditions), replace=replace)
    partial.unlink(missing_ok=True)
    shutil.rmtree(partial.with_suffix(".models"), ignore_errors=True)


def _duration(text: str) -> timedelta:
    try:
        return read_duration(text)
    except InputError as error:
        raise InputError(f"--apart: {error}") from error


def kit(
    supernet: Annotated[str, typer.Argument(help="Supernet whose search space is measured.")],
    out: Annotated[Path, typer.Option("-o", help="Zip file to write.")],
    runtime: RuntimeName = "onnxruntime",
    precision: Precision = "fp32",
    batch: Batch = 1,
    networks: Networks = 40,
    resolution: Resolutions = None,
    json: Json = False,
) -> None:
    """Write a kit that measures another machine with Python, numpy and the runtime alone."""
    from latency_tables.benchmark import MeasureOptions, build_kit
    from models.machine import write_atomically

    check_out(out, ".zip", what="a zip archive")
    options = MeasureOptions(runtime=runtime, precision=precision, batch=batch, networks=networks)
    space = _space(supernet, resolution)
    with progress_bar(f"making models of {space.name}") as show_share:
        content = build_kit(space, options, show_share)
    write_atomically(out, content)
    if json:
        print_json(
            {"path": str(out), "bytes": len(content), "space": space.name, "runtime": runtime}
        )
    else:
        typer.echo(f"{out}: {len(content)} bytes; unpack it there and run `python measure.py NAME`")


def _space(supernet: str, resolutions: list[int] | None) -> SearchSpace:
    context = catalog().context(supernet, None)
    return context.bundle.space.at(resolutions) if resolutions else context.space

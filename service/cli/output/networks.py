"""Answers as text: a search with its network drawn and its layers listed, a front plotted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from json import dumps
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import typer

from service.cli.output.plot import plot_front
from service.cli.output.tables import print_table, short, stdout_is_utf8
from service.contracts import (
    bound_in_words,
    images_in_words,
    timing_in_words,
    under_runtime,
)

if TYPE_CHECKING:
    from service.contracts import SearchRead

FIRST = ("top1", "latency_ms", "latency_upper_ms")
"""Numbers that the table lists before the others."""
LABELS = {"top1": "top1 (percent)"}
FRACTION = "fraction "
PLOT_HEIGHT = 16
MIN_WIDTH, MAX_WIDTH = 30, 110
"""Of a plot, characters."""
BAR_WIDTH = 20
"""Characters of the longest bar, that of the slowest stage."""


def print_search(answer: Mapping[str, Any], arch: Mapping[str, Any]) -> None:
    """Print the answer of `search --json` as text.

    Args:
        arch: the architecture found, as it is printed.
    """
    sources, batch = dict(answer["provenance"]), answer.get("batch", 1)
    labels = {**LABELS, **latency_names(batch)}
    first: tuple[str, ...] = FIRST
    if batch > 1:
        first = ("top1", *latency_names(batch), "latency_upper_ms")
        labels["latency_upper_ms"] = f"latency_upper_ms ({batch} images)"
        sources["latency_ms_per_image"] = sources["latency_ms"]
    rows = [
        (labels.get(name, name), short(answer[name]), *origin(sources.get(name, {})))
        for name in dict.fromkeys((*first, *sources))
        if answer.get(name) is not None or name == "top1"
    ]
    print_table(("number", "value", "origin", "expected error"), rows)
    typer.echo(
        f"found in {answer['search_seconds']:.3g} s, {answer['evaluations']} evaluations, "
        f"{answer['effort']} effort, seed {answer['seed']}"
    )
    if "footprint" in answer:  # searches stored by earlier versions have none
        typer.echo(f"a year of it: {footprint_in_words(answer['footprint'])}")
    for line in timing_in_words(answer.get("verified", {})):
        typer.echo(line)
    if "int8" in answer:
        typer.echo(answer["int8"]["in_words"])
    if "id" in answer:
        typer.echo(f"search: {answer['id']}")
    typer.echo("")
    bar = "█" if stdout_is_utf8() else "#"
    for line in draw_arch(answer["arch"], answer["layers"], bar, batch, answer.get("runtime")):
        typer.echo(line)
    typer.echo("")
    print_table(*layer_table(answer["layers"]))
    typer.echo("")
    typer.echo(f"arch: {dumps(arch)}")


def print_doubts(sources: Mapping[str, Any]) -> None:
    """Print on stderr for what a predicted latency may be wrong."""
    for text in sources.get("latency_ms", {}).get("warnings", ()):
        typer.echo(f"warning: the device's table: {text}", err=True)


def latency_names(batch: int) -> dict[str, str]:
    """What a table calls the columns of a latency: for more than one image, the milliseconds of
    the whole batch and those of one image."""
    if batch == 1:
        return {"latency_ms": "latency_ms"}
    return {
        "latency_ms": f"latency_ms ({batch} images)",
        "latency_ms_per_image": "latency_ms (1 image)",
    }


def footprint_in_words(footprint: Mapping[str, Any]) -> str:
    """Energy and CO2e of a year at the stated volume, or what is missing to tell."""
    if (kwh := footprint["energy_kwh_per_year"]) is None:
        return str(footprint["method"])
    co2e = footprint["co2e_kg_per_year"]
    kg = "" if co2e is None else f", {co2e:.3g} kg CO2e"
    return f"{kwh:.3g} kWh{kg} at {footprint['inferences_per_day']:,} images a day, estimated"


def print_plot(
    points: Sequence[Mapping[str, Any]],
    budget_ms: float | None,
    batch: int = 1,
    runtime: str | None = None,
) -> None:
    """Print a front as a plot that is as wide as the terminal."""
    width = min(max(get_terminal_size().columns - 10, MIN_WIDTH), MAX_WIDTH)
    typer.echo("top1, percent")
    typer.echo(
        plot_front(
            [point["latency_ms"] for point in points],
            [point["top1"] for point in points],
            width=width,
            height=PLOT_HEIGHT,
            budget_ms=budget_ms,
            braille=stdout_is_utf8(),
        )
    )
    budget = "" if budget_ms is None else f"; upright: {budget_ms:g} ms"
    ends = f"{points[0]['latency_ms']:.4g} to {points[-1]['latency_ms']:.4g} ms"
    name = f"{latency_names(batch)['latency_ms']}{under_runtime(runtime)}"
    typer.echo(f"{name}; {len(points)} networks, {ends}{budget}")


def origin(source: Mapping[str, Any]) -> tuple[str, str]:
    """Origin and expected error of a number, in words."""
    error, unit = source.get("expected_error"), source.get("expected_error_unit", "")
    if source.get("origin") == "exact":
        return "exact", "none"
    if "confidence" in source:
        return "predicted", bound_in_words(source)
    if error is None:
        words = "unknown"
    elif unit.startswith(FRACTION):
        words = f"{100 * error:.3g} % {unit.removeprefix(FRACTION)}"
    else:
        words = f"{error:.3g} {unit}"
    if (interval := source.get("interval")) is not None:
        words += f"; {interval['confidence']:.0%} within {interval['points']:.2g} points"
    return source.get("origin", "unknown"), words


def draw_arch(
    arch: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]],
    bar: str = "█",
    batch: int = 1,
    runtime: str | None = None,
) -> list[str]:
    """One line a stage: its blocks, each kernel x expansion, its channels and its time.

    Args:
        arch: as JSON, of either family.
        layers: image to logits, as `service.catalog.explanation.describe_layers` has them.
        bar: the character that bars are drawn with.
        batch: images that the times are for.
        runtime: what they are of.

    Returns:
        Lines: the layers before the first stage ("stem"), one a stage, those after the last
        ("head").
    """
    rows = _parts(arch, layers)
    times = [_sum_ms(some) for _, _, some in rows]
    total, longest = sum(times), max(times)
    wide = max(len(blocks) for _, blocks, _ in rows)
    size = f"{arch['resolution']} x {arch['resolution']}"
    how = f"{images_in_words(batch)}{under_runtime(runtime)}"
    lines = [f"{size} pixels; a block is kernel x expansion, times are predicted{how}"]
    for (name, blocks, some), ms in zip(rows, times, strict=True):
        if not some:
            continue
        end = some[-1]
        shape = f"{end['out_channels']} x {end['out_size']} x {end['out_size']}"
        line = f"  {name:<7} {blocks:<{wide}}  {shape:<15}"
        if total:
            line += f" {ms:8.4f} ms {ms / total:4.0%} {bar * round(BAR_WIDTH * ms / longest)}"
        lines.append(line.rstrip())
    return lines


def print_comparison(searches: Sequence[SearchRead]) -> None:
    """Finished searches side by side: their numbers, then their networks stage by stage."""
    from service.contracts import search_columns, search_row  # slow to import

    rows = list(map(search_row, searches))
    names = [name for name in search_columns(rows) if name != "arch"]
    told = [name for name in names if any(row.get(name) is not None for row in rows)]
    print_table(
        ("", *(search.id[:8] for search in searches)),
        [(name, *(_cell(row.get(name)) for row in rows)) for name in told],
    )
    typer.echo("")
    networks = [search.result for search in searches if search.result is not None]
    sizes = [f"{found.arch.model_dump()['resolution']} pixels" for found in networks]
    parts = [
        {name: (blocks, _sum_ms(some)) for name, blocks, some in _parts(arch, found.layers)}
        for found in networks
        for arch in [found.arch.model_dump()]
    ]
    stages = [
        (name, *(_stage(each.get(name)) for each in parts))
        for name in dict.fromkeys(name for each in parts for name in each)
    ]
    print_table(("network", *(search.id[:8] for search in searches)), [("input", *sizes), *stages])
    typer.echo("a block is kernel x expansion; times are predicted, each under its own runtime")


def _cell(value: object) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else short(value)


def _stage(part: tuple[str, float] | None) -> str:
    if part is None:
        return "none"
    blocks, ms = part
    return f"{blocks}  {ms:.4f} ms".strip() if ms else blocks or "unknown"


def layer_table(
    layers: Sequence[Mapping[str, Any]],
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Column names and rows: a layer's shape, latency and multiply-accumulates."""
    columns = ("layer", "kind", "kernel", "stride", "channels", "size")
    costs = ("latency_ms", "share", "macs", "share")
    rows = []
    for layer in layers:
        middle = f" > {layer['mid_channels']}" if layer["mid_channels"] else ""
        ms, share = layer["latency_ms"], layer["latency_share"]
        rows.append(
            (
                layer["name"],
                layer["kind"],
                f"{layer['kernel']}x{layer['kernel']}",
                str(layer["stride"]),
                f"{layer['in_channels']}{middle} > {layer['out_channels']}",
                f"{layer['in_size']} > {layer['out_size']}",
                "unknown" if ms is None else f"{ms:.4f}",
                "unknown" if ms is None else f"{share:.1%}",
                str(layer["macs"]),
                f"{layer['macs_share']:.1%}",
            )
        )
    return (*columns, *costs), rows


def _parts(
    arch: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """The stem, each stage and the head: name, blocks in words, layers."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for layer in layers:
        groups.setdefault(_group(layer["name"]), []).append(layer)
    stages = [name for name in groups if name.startswith("stage")]
    order = list(groups)
    first, last = order.index(stages[0]), order.index(stages[-1])
    return [
        ("stem", "", _flat(groups, order[:first])),
        *((name, _blocks(arch, index), groups[name]) for index, name in enumerate(stages)),
        ("head", "", _flat(groups, order[last + 1 :])),
    ]


def _sum_ms(layers: Sequence[Mapping[str, Any]]) -> float:
    return sum(layer["latency_ms"] or 0.0 for layer in layers)


def _blocks(arch: Mapping[str, Any], stage: int) -> str:
    expand = arch["expand"][stage]
    kernel = arch["kernel"][stage] if "kernel" in arch else [3] * len(expand)
    return "  ".join(f"{k}x{e:g}" for k, e in zip(kernel, expand, strict=True))


def _flat(
    groups: Mapping[str, list[Mapping[str, Any]]], names: Sequence[str]
) -> list[Mapping[str, Any]]:
    return [layer for name in names for layer in groups[name]]


def _group(name: str) -> str:
    return name.partition("_")[0] if name.startswith("stage") else name

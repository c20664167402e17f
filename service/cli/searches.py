"""`searches`, `compare` and `download`: stored searches and their models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import Conflict, InputError
from service.cli.common import Json, SearchesQuery, Server, check_out, if_stopped, print_warnings
from service.cli.completion import complete_device, complete_supernet
from service.cli.output import (
    print_comparison,
    print_csv,
    print_json,
    print_table,
    progress_bar,
    short,
)
from service.cli.source import open_source
from service.contracts import Status, asked_in_words, images_in_words

if TYPE_CHECKING:
    from service.contracts import SearchRead

Moment = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="A date (midnight UTC), a time with its zone, or so long ago: 90m, 12h, 7d, 2w.",
    ),
]


def searches(
    device: Annotated[
        str | None,
        typer.Option(help="Only searches for this device.", autocompletion=complete_device),
    ] = None,
    supernet: Annotated[
        str | None,
        typer.Option(help="Only searches of this supernet.", autocompletion=complete_supernet),
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only searches with this status.")] = None,
    latency_ms_max: Annotated[
        float | None, typer.Option(min=0, help="Only finished ones of at most this latency.")
    ] = None,
    top1_min: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Only finished ones of at least this predicted accuracy, percent."
        ),
    ] = None,
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of searches.")] = 50,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV with every number, one search a line.")
    ] = False,
    server: Server = None,
    json: Json = False,
) -> None:
    """List stored searches, newest first."""
    if csv and json:
        raise InputError("searches: expected --csv or --json, not both")
    query = SearchesQuery(
        device=device,
        supernet=supernet,
        status=status,
        latency_ms_max=latency_ms_max,
        top1_min=top1_min,
        created_after=_moment("--since", since),
        created_before=_moment("--until", until),
    )
    with open_source(server) as source:
        found = source.searches(query, limit + 1)
        if not found and device is not None:
            source.device(device)  # reports a misspelt name
        if not found and supernet is not None:
            source.supernet(supernet)
    shown = found[:limit]
    if json:
        print_json([search.model_dump(mode="json") for search in shown])
        return
    if csv:
        _print_csv(shown)
    elif not shown:
        typer.echo("no stored search is like that", err=True)
    else:
        numbers = ("top1", "latency_ms", "runtime")
        names = ("asked (UTC)", "id", "supernet", "device", "limits", "status", *numbers)
        print_table(names, map(_row, shown))
    if len(found) > limit:
        typer.echo(f"there are more: ask for more than --limit {limit}", err=True)


def _print_csv(shown: Sequence[SearchRead]) -> None:
    from service.contracts import search_columns, search_row

    rows = list(map(search_row, shown))
    print_csv(search_columns(rows), rows)


def compare(
    search_ids: Annotated[
        list[str], typer.Argument(metavar="ID ID...", help="Two or more, see `searches`.")
    ],
    server: Server = None,
    json: Json = False,
) -> None:
    """Show finished searches side by side: what was asked, every number, the networks."""
    if len(ids := list(dict.fromkeys(search_ids))) < 2:
        raise InputError(f"compare: expected at least two different ids, got {len(ids)}")
    with open_source(server) as source:
        found = [source.search_of(search_id) for search_id in ids]
    for search in found:
        if search.result is None:
            raise Conflict(f"search {search.id} is {search.status} and has no network to compare")
    if len({(search.request["device"], search.request["precision"]) for search in found}) > 1:
        print_warnings(["the searches are of different devices or precisions: so are their times"])
    if json:
        print_json({"searches": [search.model_dump(mode="json") for search in found]})
        return
    print_comparison(found)


def download(
    search_id: Annotated[str, typer.Argument(metavar="ID", help="See `searches`.")],
    out: Annotated[Path, typer.Option("-o", help="File to write.")],
    server: Server = None,
    json: Json = False,
) -> None:
    """Write the ONNX file of a stored search."""
    check_out(out, ".onnx", what="an ONNX model")
    kept = if_stopped("received bytes are kept; the same command goes on")
    with kept, open_source(server) as source, progress_bar("downloading") as show_share:
        source.download(search_id, out, show_share)
    content = out.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if json:
        print_json({"path": str(out), "sha256": sha256, "model_bytes": len(content)})
    else:
        typer.echo(f"{out}: {len(content)} bytes, sha256 {sha256}")


def _moment(option: str, text: str | None) -> datetime | None:
    from service.contracts import read_since

    try:
        return None if text is None else read_since(text, lambda: datetime.now(UTC))
    except InputError as error:
        raise InputError(f"{option}: {error}") from error


def _row(search: SearchRead) -> tuple[str, ...]:
    request, result = search.request, search.result
    limits = asked_in_words(request)
    return (
        f"{search.created_at:%Y-%m-%d %H:%M}",
        search.id,
        request["supernet"],
        request["device"],
        limits if request["precision"] == "fp32" else f"{limits}, {request['precision']}",
        search.status if search.current else f"{search.status}, older table",
        "unknown" if result is None else f"{result.top1:.2f}",
        "unknown"
        if result is None
        else f"{short(result.latency_ms)}{images_in_words(result.batch)}",
        "unknown" if result is None else result.runtime or "not stated",
    )

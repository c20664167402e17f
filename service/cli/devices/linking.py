"""`devices link` and `try`: another device by a one-time address, made at a running service."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError, SubnetSearchError
from service.cli.common import STOPPED, Json, SupernetName, print_warnings, settings
from service.cli.output import print_json, progress_bar
from service.contracts import measured_in_words

if TYPE_CHECKING:
    from service.client import Client
    from service.contracts import LinkRead

AtServer = Annotated[
    str,
    typer.Option(
        "--server", envvar="SUBNET_SERVER", help="URL of the service, with the key SUBNET_API_KEY."
    ),
]
USUAL_SERVER = "http://127.0.0.1:8000"
Backends = Annotated[
    list[str] | None,
    typer.Option("--backend", help="wasm or webgpu; repeat it for both. Default: wasm."),
]


def link(
    supernet: SupernetName,
    name: Annotated[
        str | None,
        typer.Argument(help="Name for the device; default: what its browser says of itself."),
    ] = None,
    server: AtServer = USUAL_SERVER,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Time every layer (minutes), not 24 whole networks."),
    ] = False,
    backend: Backends = None,
    threads: Annotated[int, typer.Option(min=1, help="Of WebAssembly; more needs HTTPS.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Measure a phone or another computer: an address that it opens in its browser, once."""

    def make(client: Client) -> LinkRead:
        return client.create_link(
            supernet,
            name,
            thorough=thorough,
            precision=precision,
            backends=backend or ["wasm"],
            threads=threads,
            replace=replace,
        )

    _open(server, make, json=json, done=_show_devices)


def try_(
    search_id: Annotated[str, typer.Argument(metavar="ID", help="See `searches`.")],
    server: AtServer = USUAL_SERVER,
    json: Json = False,
) -> None:
    """Try the model of a finished search on a phone or another computer: its time, its answers."""
    _open(server, lambda client: client.create_try_link(search_id), json=json, done=_show_try)


def _open(
    server: str,
    make: Callable[[Client], LinkRead],
    *,
    json: bool,
    done: Callable[[Client, LinkRead], None],
) -> None:
    """Make a link and show it; without `json`, wait for its device too."""
    with _client(server) as client:
        made = make(client)
        print_warnings(made.warnings)
        if json:
            print_json(made.model_dump(mode="json"))
            return
        assert made.url is not None
        typer.echo(_in_terminal(made.url))
        typer.echo(f"open this address on the device, within 30 minutes: {made.url}")
        try:
            ended = _follow(client, made)
        except KeyboardInterrupt:
            typer.echo(
                f"\nthe link goes on without this command, until {made.expires_at:%H:%M} UTC: the "
                "device is stored when it is done (`subnet-search devices list`)",
                err=True,
            )
            raise typer.Exit(STOPPED) from None
        print_warnings(text for text in ended.warnings if text not in made.warnings)
        done(client, ended)


def _follow(client: Client, made: LinkRead) -> LinkRead:
    with progress_bar("waiting for the device") as show_share:

        def show(link: LinkRead) -> None:
            if link.progress is not None:
                show_share(link.progress.share, f"- {link.progress.phase}")
            elif link.status != "open":
                show_share(0.0, "- it has opened the link")

        return client.follow_link(made, on_change=show)


def _show_devices(client: Client, ended: LinkRead) -> None:
    for name in ended.devices:
        (table, *_) = client.device(name).tables
        error = table.expected_error
        known = "" if error is None else f", expected error of a whole network {error:.1%}"
        typer.echo(f"{name} for space {table.space}: {table.origin}{known}")
        typer.echo(
            f"next: subnet-search search --supernet {ended.supernet} --device {name} --latency-ms X"
        )


def _show_try(client: Client, ended: LinkRead) -> None:
    found: dict[str, Any] = ended.try_result or {}
    typer.echo(f"on the device: {measured_in_words(found['latency_ms'])}")
    answers = found["answers"]
    if answers["passed"] is not None:
        typer.echo(
            f"answers to {answers['images']} images: {answers['same_top1']} the same, logits at "
            f"most {answers['largest_difference']:.2g} off (allowed {answers['tolerance']:.2g})"
        )
    if not found["passed"]:
        raise SubnetSearchError("the model did not pass on the device")


def _in_terminal(url: str) -> str:
    """An address as a QR code in half blocks."""
    import segno

    out = io.StringIO()
    segno.make(url, micro=False).terminal(out, compact=True)
    return out.getvalue().rstrip("\n")


@contextmanager
def _client(server: str) -> Iterator[Client]:
    """A client of the service; errors say how to start one that others reach."""
    from service.client import Client, Unauthorized, Unreachable

    key = settings().api_key
    with Client(server, None if key is None else key.get_secret_value()) as client:
        try:
            yield client
        except Unreachable as error:
            raise SubnetSearchError(
                f"no service answers at {server}: start one that other devices reach, with "
                "`subnet-search serve --host 0.0.0.0`, or name it (--server URL)"
            ) from error
        except Unauthorized as error:
            if key is not None:
                raise
            raise InputError(
                f"{server} asks for a key: make one there (`subnet-search keys create NAME`) and "
                "set SUBNET_API_KEY"
            ) from error

"""`serve` and `worker`, the long-running processes; `backup`, `restore` and `gc`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from socket import socket
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import Json, settings
from service.cli.output import print_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from service.settings import Settings
    from service.storage import ArtifactStore, Key

MIN_GRACE_H = 1.0
"""A worker may take this long from storing a model to recording it."""
DRAIN_S = 5
"""How long open connections may take to end when the service stops."""

EVERY_ADDRESS = ("0.0.0.0", "::", "")
"""Hosts to listen on that are no addresses of their own."""

WORKER_NICENESS = 5
"""Added to the niceness of the workers of `serve`: requests come before searches."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
) -> None:
    """Serve the API, with worker processes of its own (SUBNET_WORKERS)."""
    import uvicorn

    from service.http import create_app

    configured = guarded(settings(), host)
    app = create_app(configured)
    app.state.listens_everywhere = host in EVERY_ADDRESS

    class AnnouncedServer(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            """Say where it listens once it does, since of port 0 the system makes a free one, and
            whom it serves."""
            await super().startup(sockets)
            if self.started:
                bound = self.servers[0].sockets[0].getsockname()[1]
                typer.echo(f"serving on http://{host}:{bound} (Ctrl-C stops)", err=True)
                keys = app.state.service.keys.keys()
                typer.echo(access_in_words(configured.access, host, keys), err=True)

    server = AnnouncedServer(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,  # the application logs requests itself
            proxy_headers=False,  # the application trusts the proxies that its settings name
            log_level="warning",
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    try:
        server.run()
    except KeyboardInterrupt:
        return
    if not server.started:
        raise typer.Exit(1)


def guarded(configured: Settings, host: str) -> Settings:
    """Settings with what follows from the address: `access` "auto" becomes "required" where others
    reach it, directly or through a proxy; the address itself may be named by requests."""
    from service.contracts import is_loopback

    changes: dict[str, Any] = {}
    if configured.access == "auto" and (not is_loopback(host) or configured.proxy_networks):
        changes["access"] = "required"
    if host not in EVERY_ADDRESS:
        changes["allowed_hosts"] = ",".join(filter(None, (configured.allowed_hosts, host)))
    return configured.model_copy(update=changes)


def access_in_words(access: str, host: str, keys: Sequence[Key]) -> str:
    """Whom the service serves, and how to get a key."""
    from service.contracts import is_loopback

    if access == "off":
        warning = "" if is_loopback(host) else "warning: "
        unused = f", also without the {len(keys)} API keys that exist" if keys else ""
        return f"{warning}access is off: whoever reaches {host} may do everything{unused}"
    if access == "auto" and not keys:
        return (
            "access is open: no API key exists, so your programs on this machine may do everything "
            "(outside Linux, all its users'). Before others can reach it, make one: `subnet-search "
            "keys create OWNER --scope admin`. From then on every request needs a key"
        )
    if not any(key.valid for key in keys):
        return (
            "every request needs an API key, and there is none yet that is valid: make one with "
            "`subnet-search keys create OWNER`"
        )
    return "every request needs an API key; `subnet-search keys create OWNER` makes another one"


def worker(
    until_stdin_ends: Annotated[bool, typer.Option("--until-stdin-ends", hidden=True)] = False,
) -> None:
    """Work on queued searches; any number of workers may share one database."""
    from models.machine import keep_freed_memory
    from service.http import configure_logging, open_service

    configured = settings()
    configure_logging(configured)
    keep_freed_memory()
    if until_stdin_ends and hasattr(os, "nice"):
        os.nice(WORKER_NICENESS)
    stop = Event()
    # A worker of `serve` is stopped by `serve`, not by Ctrl-C in their common terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN if until_stdin_ends else lambda *_: stop.set())
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if until_stdin_ends:
        Thread(target=_wait_for_end_of_stdin, args=(stop,), daemon=True).start()
    with open_service(configured) as service:
        if not until_stdin_ends:
            typer.echo(f"working on {service.engine.url!r} (Ctrl-C stops)", err=True)
        worker = service.worker()
        # Two seconds, which the first search saves.
        import onnx  # noqa: F401

        from models.onnx import subnet_onnx  # noqa: F401

        worker.run(stop)
    if worker.running:
        # The thread of a run that does not report cannot be stopped; other workers have the run.
        os._exit(0)


def backup(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    json: Json = False,
) -> None:
    """Write all searches, devices, keys and models to one file; the service may run meanwhile."""
    from service.storage import write_backup

    with _database() as (engine, artifacts):
        _tell(f"wrote {file}", write_backup(engine, artifacts, file), json)


def restore(
    file: Annotated[
        Path, typer.Argument(help="A file that `backup` wrote, from SQLite or PostgreSQL.")
    ],
    json: Json = False,
) -> None:
    """Restore a backup into an empty database, with its models."""
    from service.storage import ArtifactStore, open_database, restore_backup

    configured = settings()
    engine = open_database(configured.database)  # an older backup brings its own schema
    try:
        restored = restore_backup(engine, ArtifactStore(configured.artifacts), file)
    finally:
        engine.dispose()
    _tell(f"restored {file}", restored, json)


@contextmanager
def _database() -> Iterator[tuple[Engine, ArtifactStore]]:
    from service.storage import ArtifactStore, current_database

    configured = settings()
    with current_database(configured.database) as engine:
        yield engine, ArtifactStore(configured.artifacts)


def _tell(words: str, counts: dict[str, int], json: bool) -> None:
    if json:
        print_json(counts)
        return
    typer.echo(f"{words}: {', '.join(f'{count} {name}' for name, count in counts.items())}")


def _wait_for_end_of_stdin(stop: Event) -> None:
    while sys.stdin.buffer.read(1 << 16):
        pass
    stop.set()


def gc(
    grace_h: Annotated[
        float,
        typer.Option(
            "--grace-hours",
            min=MIN_GRACE_H,
            help="Keep files younger than this: running work may need them.",
        ),
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, but remove nothing.")] = False,
    json: Json = False,
) -> None:
    """Remove stored models that no search refers to; safe while the service works."""
    from service.storage import ArtifactStore, SearchStore, current_database

    configured = settings()
    with current_database(configured.database) as engine:
        found = ArtifactStore(configured.artifacts).collect(
            SearchStore(engine).artifacts, timedelta(hours=grace_h), dry_run=dry_run
        )
    if json:
        print_json({**asdict(found), "dry_run": dry_run})
        return
    word = "would remove" if dry_run else "removed"
    typer.echo(f"{word} {found.removed} files, {found.freed_bytes} bytes; kept {found.kept}")

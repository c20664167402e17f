"""`serve` and `worker`: processes that stay."""

from __future__ import annotations

import signal
from threading import Event
from typing import Annotated

import typer

from service.cli.common import settings

DRAIN_S = 5
"""How long open connections may take to end when the service stops."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve the API, with worker threads of its own (SUBNET_WORKERS)."""
    import uvicorn

    from service.app import create_app

    typer.echo(f"serving on http://{host}:{port} (Ctrl-C stops)", err=True)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings()),
            host=host,
            port=port,
            access_log=False,  # the application logs requests itself
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


def worker() -> None:
    """Work on queued searches; any number of workers may share one database."""
    from service.app import configure_logging
    from service.dependencies import open_service

    configured = settings()
    configure_logging(configured)
    stop = Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with open_service(configured) as service:
        typer.echo(f"working on {service.engine.url!r} (Ctrl-C stops)", err=True)
        service.worker().run(stop)

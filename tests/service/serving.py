"""A service on a real port of this machine, in a thread, and a network that breaks on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from threading import Thread

import httpx
import uvicorn
from fastapi import FastAPI

from service.http.app import create_app
from service.settings import Settings
from tests.processes import PATIENCE_S


@contextmanager
def serving(settings: Settings | FastAPI, *, worker_thread: bool = False) -> Iterator[str]:
    """The URL of a service of these settings, or of an application.

    Args:
        worker_thread: a worker of this process, which is quicker to start than one of its own;
            there can be one at a time.
    """
    app = create_app(settings) if isinstance(settings, Settings) else settings
    config = uvicorn.Config(
        app,
        proxy_headers=False,  # as `serve` does
        host="127.0.0.1",
        port=0,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        with app.state.service.worker().working() if worker_thread else nullcontext():
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class Breaking(httpx.BaseTransport):
    """The network, where an answer's body may break off or be altered.

    Args:
        spoil: told the request and its number (from 0), how many bytes of the body come through;
            None for all.
    """

    def __init__(self, spoil: Callable[[httpx.Request, int], int | None]) -> None:
        self.spoil, self.requests = spoil, list[httpx.Request]()
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        let_through = self.spoil(request, len(self.requests))
        self.requests.append(request)
        response = self._inner.handle_request(request)
        if let_through is not None:
            response.stream = _Broken(response.stream, let_through)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _Broken(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream | httpx.AsyncByteStream, size: int) -> None:
        assert isinstance(inner, httpx.SyncByteStream)
        self.inner, self.left = inner, size

    def __iter__(self) -> Iterator[bytes]:
        for block in self.inner:
            yield block[: self.left]
            self.left -= len(block)
            if self.left <= 0:
                raise httpx.ReadError("the cable was pulled")

    def close(self) -> None:
        self.inner.close()

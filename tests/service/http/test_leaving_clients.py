"""Clients that end a connection before the answer has ended."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from structlog.testing import capture_logs

from service.http.app import create_app
from service.http.middleware import _is_of_closed_stream
from service.storage.runs import RunStore
from tests.processes import PATIENCE_S
from tests.service.conftest import DEVICE, SUPERNET, client_of

pytestmark = pytest.mark.anyio
BODY = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


async def test_only_a_closed_stream_is_taken_for_a_client_that_left():
    closed = ExceptionGroup("", [anyio.BrokenResourceError(), anyio.ClosedResourceError()])
    assert _is_of_closed_stream(closed)
    assert not _is_of_closed_stream(ExceptionGroup("", [closed, ValueError("a bug")]))
    assert not _is_of_closed_stream(OSError("a bug"))


async def test_a_client_that_leaves_amid_its_events_is_no_crash(settings):
    app, left = create_app(settings), asyncio.Event()
    received, answered = [{"type": "http.request", "body": b""}], []

    async def receive():
        if received:
            return received.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        answered.append(message)
        if message["type"] == "http.response.body":  # the first, and the connection takes no more
            for _ in range(100):
                await asyncio.sleep(0)  # the next ones wait to be sent
            left.set()
            await asyncio.Event().wait()

    async with client_of(app) as client, asyncio.timeout(PATIENCE_S):
        search_id = (await client.post("/v1/searches", json=BODY)).json()["id"]
        service = app.state.service
        runs, search = RunStore(service.engine), service.store.get(search_id)
        runs.start(search_id, 1, "w")
        for share in range(20):
            runs.report(search, "w", {"share": share})
        path = f"/v1/searches/{search_id}/events"
        scope = {
            **{"type": "http", "method": "GET", "path": path, "raw_path": path.encode()},
            **{"query_string": b"", "headers": [(b"host", b"localhost")], "scheme": "http"},
            **{"server": ("localhost", 80), "client": ("127.0.0.1", 1), "http_version": "1.1"},
            **{"asgi": {"version": "3.0"}, "root_path": ""},
        }
        with capture_logs() as logs:
            await app(scope, receive, send)
    assert answered[0]["status"] == 200
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []

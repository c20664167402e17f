"""What happens around every request: an id, a log line, a measurement, limits on its size.

`auth` is the middleware between these two.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from anyio import BrokenResourceError, ClosedResourceError
from fastapi import HTTPException

from service.contracts import BadRequest
from service.http import problems

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = structlog.get_logger(__name__)


class RequestLog:
    """Gives every request an id, logs it and measures its time.

    An exception that nothing else answered is logged, and its answer says nothing of it. A client
    that leaves amid a stream of events is none.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request; anything else is passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started, status = uuid.uuid4().hex, time.perf_counter(), 0
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                marked = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), marked]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self.app(scope, receive, send_marked)
            except Exception as error:
                if status and _is_of_closed_stream(error):
                    return
                log.exception("request_crashed")
                if status:  # the answer has begun
                    raise
                await problems.answer(scope, error)(scope, receive, send_marked)
            finally:
                seconds = time.perf_counter() - started
                route = getattr(scope.get("route"), "path", "unknown")
                service = scope["app"].state.service
                service.http_metrics.answered(scope["method"], route, status or 500, seconds)
                log.info(
                    "answered",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or 500,
                    ms=round(1000 * seconds, 1),
                )


def _is_of_closed_stream(error: BaseException) -> bool:
    """Whether this is what FastAPI's event streams raise when what they still had to send can no
    longer be sent."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_of_closed_stream(one) for one in error.exceptions)
    return isinstance(error, BrokenResourceError | ClosedResourceError)


class RequestLimits:
    """Refuses bodies that are too large, whatever Content-Length says, and NUL characters in paths
    and queries, which no database stores."""

    def __init__(self, app: App, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"expected a body of at most {self.max_bytes} bytes",
                )
            return message

        if scope["type"] == "http" and (
            "\0" in scope["path"] or b"%00" in scope.get("query_string", b"")
        ):
            error = BadRequest("expected a path and a query without NUL characters")
            await problems.answer(scope, error)(scope, receive, send)
            return
        await self.app(scope, counted, send)

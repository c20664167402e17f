"""What happens around every request: an id, a log line, a measurement, a caller, limits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Literal

import structlog
from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool

from models.errors import SubnetSearchError
from service.contracts import (
    LOCAL,
    BadRequest,
    Caller,
    InvalidKey,
    NotAllowed,
    is_loopback,
    rule_of,
)
from service.http import problems
from service.storage import AuditLog

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

READS = ("GET", "HEAD", "OPTIONS", "TRACE")

log = structlog.get_logger(__name__)


class Observe:
    """Logs and counts every request, gives it an id that its log lines carry, and answers what
    no one else did: a bug is a problem document that says nothing of itself."""

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
                log.exception("request_crashed")
                if status:  # half an answer is gone already
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


class Guard:
    """Finds out who asks, refuses what they may not, and records what they change.

    Args:
        access: "required": everybody needs a key; "off": nobody does; "auto": whoever comes from
            another machine does.
    """

    def __init__(self, app: App, access: Literal["auto", "required", "off"]) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, refused before its body is read; anything else is passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        service = scope["app"].state.service
        writes, number = scope["method"] not in READS, None
        try:
            caller = await self._caller(scope)
            if writes:
                action = f"{scope['method']} {scope['path']}"
                request_id = scope["state"]["request_id"]
                number = await run_in_threadpool(service.audit.begin, caller, action, request_id)
            _check(caller, scope)
        except SubnetSearchError as error:
            refusal = problems.answer(scope, error)
            if number is not None:
                await _end(service.audit, number, refusal.status_code)
            await refusal(scope, receive, send)
            return
        scope["state"]["caller"] = caller

        async def send_recorded(message: Message) -> None:
            if number is not None and message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message.get("headers", ())}
                made = headers.get(b"location")
                target = None if made is None else made.decode("latin-1")
                await _end(service.audit, number, message["status"], target)
            await send(message)

        await self.app(scope, receive, send_recorded)

    async def _caller(self, scope: Message) -> Caller:
        secret = _bearer(scope)
        if self.access == "off" or rule_of(scope["method"], scope["path"]) == "public":
            return LOCAL
        client = scope.get("client")
        if secret is None and self.access == "auto" and (not client or is_loopback(client[0])):
            return LOCAL
        if secret is None:
            raise InvalidKey(
                "expected an API key in the header `Authorization: Bearer ...`, as "
                "`subnet-search keys create` prints one"
            )
        keys = scope["app"].state.service.keys
        caller: Caller = await run_in_threadpool(keys.admit, secret)
        return caller


def _bearer(scope: Message) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if scheme.lower() == "bearer" else ""
    return None


def _check(caller: Caller, scope: Message) -> None:
    rule = rule_of(scope["method"], scope["path"])
    if not caller.may(rule):
        raise NotAllowed(f"expected an API key of scope {rule!r} or wider, got {caller.scope!r}")


async def _end(audit: AuditLog, number: int, status: int, target: str | None = None) -> None:
    try:
        await run_in_threadpool(audit.end, number, status, target)
    except SubnetSearchError as error:  # what was done is done; the entry stays without an end
        log.error("audit_entry_not_ended", entry=number, error=str(error))


class Limits:
    """Refuses a body once it is too large, whatever length it claims, and paths that no database
    takes."""

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

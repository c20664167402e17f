"""Authentication: who sends a request, whether they may, and the audit log of what they change.

`scopes` has what each route requires; rate limits are in `service.storage.access`.
"""

from __future__ import annotations

from typing import Literal

import structlog
from fastapi.concurrency import run_in_threadpool

from models.errors import SubnetSearchError
from service.contracts import LOCAL, Caller, InvalidKey, NotAllowed, Rule, is_loopback
from service.http import problems
from service.http.middleware import App, Message, Receive, Send
from service.http.scopes import RouteScopes
from service.storage import AuditLog

READS = ("GET", "HEAD", "OPTIONS", "TRACE")

log = structlog.get_logger(__name__)


class Authentication:
    """Identifies the caller, refuses what its scope does not allow, and records changes.

    A key is checked, and counted against its rate limit, by `KeyStore.admit` in
    `service.storage`.

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
        if self.access == "off" or _rule_of(scope) == "public":
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


def _rule_of(scope: Message) -> Rule:
    scopes: RouteScopes = scope["app"].state.route_scopes
    return scopes.rule_of(scope["method"], scope["path"])


def _check(caller: Caller, scope: Message) -> None:
    rule = _rule_of(scope)
    if not caller.may(rule):
        raise NotAllowed(f"expected an API key of scope {rule!r} or wider, got {caller.scope!r}")


async def _end(audit: AuditLog, number: int, status: int, target: str | None = None) -> None:
    try:
        await run_in_threadpool(audit.end, number, status, target)
    except SubnetSearchError as error:  # the change is made; the entry stays without an end
        log.error("audit_entry_not_ended", entry=number, error=str(error))

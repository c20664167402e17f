"""Authentication: who sends a request, whether they may, and the audit log of what they change.

`request_checks` comes before it; `scopes` has what each route requires; rate limits are in
`service.storage.access`.
"""

from __future__ import annotations

import asyncio
import os
import struct
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Literal

import structlog
from fastapi.concurrency import run_in_threadpool

from models.errors import SubnetSearchError
from service.contracts import (
    LOCAL,
    Caller,
    InvalidKey,
    NotAllowed,
    Rule,
    is_address,
    is_loopback,
    normal_host,
)
from service.http import problems
from service.http.middleware import App, Message, Receive, Send
from service.http.request_checks import READS
from service.http.scopes import RouteScopes
from service.storage import AuditLog, KeyStore

NO_KEY = (
    "expected an API key in the header `Authorization: Bearer ...`, as `subnet-search keys create` "
    "prints one"
)
LOOKS_FORWARDED = (
    "without a key only the user that runs this service is served, on the same machine, and this "
    "request comes from another user or address or looks like one that a proxy passed on "
    "(HTTP/1.0, Via): "
)
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Linux's tables of TCP sockets, of IPv4 and IPv6: each with its ends, its state and its user."""
ESTABLISHED = "01"
"""The state of a connection that neither end has closed; a closed socket may lose its user."""

SETTLE_EVERY_S = 1.0
"""How often the use of keys is brought from memory to the database: what a crash may forget."""

log = structlog.get_logger(__name__)


class Authentication:
    """Identifies the caller, refuses what its scope does not allow, and records changes.

    A key is checked, and counted against its rate limit, by `KeyStore.admit` in
    `service.storage`. What only the caller may see is marked as such for caches.

    Args:
        access: "required": everybody needs a key; "off": nobody does; "auto": everybody does once
            a key exists, and until then whoever comes from another machine, from another user of
            this one, or through a proxy.
    """

    def __init__(self, app: App, access: Literal["auto", "required", "off"]) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, refused before its body is read; anything else is passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        service, scopes = scope["app"].state.service, scope["app"].state.route_scopes
        assert isinstance(scopes, RouteScopes)
        rule = scopes.rule_of(scope["method"], scope["path"])
        writes = scope["method"] not in READS and scopes.is_audited(scope["method"], scope["path"])
        number = None
        try:
            caller = await self._caller(scope, rule, service.keys)
            if writes:
                action = f"{scope['method']} {scope['path']}"
                request_id = scope["state"]["request_id"]
                number = await run_in_threadpool(service.audit.begin, caller, action, request_id)
            _check(caller, rule)
        except SubnetSearchError as error:
            refusal = problems.answer(scope, error)
            if number is not None:
                await _end(service.audit, number, refusal.status_code)
            await refusal(scope, receive, send)
            return
        scope["state"]["caller"] = caller

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower(), value) for name, value in message.get("headers", ())]
                message["headers"] = _limit_caching(headers, rule)
                if number is not None:
                    made, state = dict(headers).get(b"location"), scope["state"]
                    target = None if made is None else made.decode("latin-1")
                    target, acts_for = state.get("audit_target", target), state.get("acts_for")
                    await _end(service.audit, number, message["status"], target, acts_for)
            await send(message)

        await self.app(scope, receive, send_marked)

    async def _caller(self, scope: Message, rule: Rule, keys: KeyStore) -> Caller:
        """Who sends a request; keys that were checked a moment ago need no query."""
        if self.access == "off" or rule == "public":
            return LOCAL
        secret = _bearer(scope)
        if secret is not None:
            if (caller := keys.admit_known(secret)) is not None:
                return caller
            return await run_in_threadpool(keys.admit, secret)
        if self.access == "required" or await _needs_key(keys):
            raise InvalidKey(NO_KEY)
        if not (_is_local(scope) and await run_in_threadpool(_is_same_user, scope)):
            raise InvalidKey(LOOKS_FORWARDED + NO_KEY)
        return LOCAL


async def _needs_key(keys: KeyStore) -> bool:
    known = keys.known_to_exist()
    return await run_in_threadpool(keys.exist) if known is None else known


def _is_local(scope: Message) -> bool:
    """Whether a program of this machine sent a request, and not plainly for another.

    Some proxies pass requests on in HTTP/1.0, as nginx before 1.29.7 does by default; clients of
    today speak HTTP/1.1.
    """
    client = scope.get("client")
    forwarded = scope["http_version"] == "1.0" or any(n == b"via" for n, _ in scope["headers"])
    return client is not None and is_loopback(client[0]) and not forwarded


def _is_same_user(scope: Message) -> bool:
    """Whether the user that runs this process holds the other end of a request's connection.

    A proxy of another user is told by that, whatever it sends. Where the system has no table of
    sockets (it is not Linux), or there is no connection (the application is called in its own
    process), nobody can be told apart, and it is true.
    """
    client, server = scope["client"], scope.get("server")
    if server is None or server[1] is None or not is_address(server[0]):
        return True
    ends = set(zip(_as_listed(*client), _as_listed(*server), strict=False))
    user, no_table = str(os.geteuid()), True
    for path in SOCKETS:
        if (table := _read(path)) is None:
            continue
        no_table = False
        for line in table.splitlines()[1:]:
            _, near, far, state, _, _, _, owner, *_ = line.split()
            if (near, far) in ends and state == ESTABLISHED:
                return owner == user
    return no_table


def _read(table: Path) -> str | None:
    try:
        return table.read_text()
    except FileNotFoundError:
        return None
    except OSError:  # it is there, and says of nobody that they may come in
        return ""


def _as_listed(host: str, port: int) -> list[str]:
    """An end of a connection as the tables may state it: 32-bit words of this machine's byte order.
    An IPv4 address is in the second table where its program took an IPv6 socket."""
    address = ip_address(normal_host(host))
    forms = [address.packed]
    if isinstance(address, IPv4Address):
        forms.append(b"\0" * 10 + b"\xff\xff" + address.packed)
    words = (struct.unpack(f"={len(form) // 4}I", form) for form in forms)
    return ["".join(f"{word:08X}" for word in form) + f":{port:04X}" for form in words]


def _bearer(scope: Message) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if scheme.lower() == "bearer" else ""
    return None


def _check(caller: Caller, rule: Rule) -> None:
    if not caller.may(rule):
        raise NotAllowed(f"expected an API key of scope {rule!r} or wider, got {caller.scope!r}")


def _limit_caching(headers: list[tuple[bytes, bytes]], rule: Rule) -> list[tuple[bytes, bytes]]:
    """Headers by which no cache keeps an answer unless its route says so, and none that several
    people use keeps what is not public; a browser keeps it for the same key alone."""
    said = [value for name, value in headers if name == b"cache-control"] or [b"no-store"]
    differs = [value for name, value in headers if name == b"vary"]
    if rule != "public":
        said, differs = [b"private", *said], [*differs, b"Authorization"]
    others = [h for h in headers if h[0] not in (b"cache-control", b"vary")]
    vary = [(b"vary", b", ".join(differs))] if differs else []
    return [*others, (b"cache-control", b", ".join(said)), *vary]


async def _end(
    audit: AuditLog,
    number: int,
    status: int,
    target: str | None = None,
    acts_for: Caller | None = None,
) -> None:
    try:
        await run_in_threadpool(audit.end, number, status, target, acts_for)
    except SubnetSearchError as error:  # the change is made; the entry stays without an end
        log.error("audit_entry_not_ended", entry=number, error=str(error))


async def settle_loop(keys: KeyStore) -> None:
    """Bring the use of keys to the database now and then, until cancelled."""
    while True:
        await asyncio.sleep(SETTLE_EVERY_S)
        await settle(keys)


async def settle(keys: KeyStore) -> None:
    """Bring the use of keys to the database; if it does not answer, the next time."""
    try:
        await run_in_threadpool(keys.settle)
    except SubnetSearchError as error:
        log.warning("key_use_not_settled", error=str(error))
    except Exception:  # nothing else settles, so an error that nobody thought of must not end it
        log.exception("key_use_not_settled")

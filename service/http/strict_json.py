"""Requests whose JSON body is checked strictly before it is validated.

This module adds limits for untrusted bodies to the parser that latency tables are read with."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from models.schema import parse_strict

MAX_DEPTH = 20
"""Levels of nested objects and lists."""
MAX_STRING = 10_000
"""Characters of one text or key."""
INLINE_BYTES = 2**16
"""Larger bodies are parsed in a thread, so that the event loop answers others meanwhile."""


class StrictRoute(APIRoute):
    """A route whose body is JSON as `parse` reads it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a `StrictRequest`."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            if takes_body:
                _check_media_type(request)
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


class StrictRequest(Request):
    """A request that reads JSON strictly."""

    async def json(self) -> Any:
        """The body's value.

        Raises:
            json.JSONDecodeError: as `parse` does.
        """
        body = await self.body()
        if len(body) <= INLINE_BYTES:
            return parse(body)
        return await run_in_threadpool(parse, body)


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise HTTPException(415, f"expected Content-Type: application/json, got {given[:80]!r}")


def parse(body: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        json.JSONDecodeError: if it is no JSON, nests too deep, gives a field twice, or holds NaN,
            infinity, a number of thousands of digits, a text that is too long, or a character
            that databases do not store.
    """
    try:
        value = parse_strict(body.decode())
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise _refused(f"nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:  # ambiguous, not UTF-8, or a number with too many digits
        raise _refused(str(error)) from error
    _check(value)
    return value


def _check(value: Any) -> None:
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                for key in item:
                    _check_text(key)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level, depth = below, depth + 1
        if depth > MAX_DEPTH + 1:
            raise _refused(f"nested deeper than {MAX_DEPTH}")


def _check_text(text: str) -> None:
    if len(text) > MAX_STRING:
        raise _refused(f"expected texts of at most {MAX_STRING} characters, got {len(text)}")
    if "\0" in text or not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise _refused("expected texts without NUL and lone surrogates")


def _refused(message: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(message, "", 0)

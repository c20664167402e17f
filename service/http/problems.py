"""Answers every error with a problem document (RFC 9457) and the headers that belong to it."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from models.errors import SubnetSearchError
from service.contracts import (
    InvalidKey,
    NotAllowed,
    Problem,
    QueueFull,
    StoreUnavailable,
    TooManyRequests,
    problem_document,
    problem_of,
)
from service.http.scopes import RouteScopes

PROBLEM = "application/problem+json"
MAX_ERRORS = 20
"""Fields named in one answer."""
_BARE = {
    500: "an unexpected error, described in the log of the service under this request's id",
    503: "the service cannot reach its database now: try again",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 70
_SHORT.maxlevel = _SHORT.maxdict = 2

log = structlog.get_logger(__name__)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's documentation says about its error answers."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {s: {"model": Problem, "content": {PROBLEM: {"schema": schema}}} for s in statuses}


def register(app: FastAPI) -> None:
    """Answer every error that a route of `app` raises with a problem document."""
    app.add_exception_handler(RequestValidationError, _invalid)
    for status in HTTPStatus:
        if 400 <= status < 500:
            app.add_exception_handler(status.value, _http)
    app.add_exception_handler(SubnetSearchError, _known)


def _known(request: Request, error: Exception) -> JSONResponse:
    return answer(request.scope, error)


def answer(scope: Mapping[str, Any], error: Exception) -> JSONResponse:
    """The answer to the request of `scope` that an error ends.

    Details of server errors are only in the log, under the request's id.
    """
    document = problem_of(error)
    if (detail := _BARE.get(document["status"])) is not None:
        log.error("request_failed", error=str(error), kind=type(error).__name__)
        document["detail"] = detail
    return _answer(scope, document, _headers(error))


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, TooManyRequests | QueueFull | StoreUnavailable):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, InvalidKey):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, NotAllowed):
        return {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    return {}


def _http(request: Request, error: Exception) -> JSONResponse:
    """Refusals by the framework itself: unknown path, method or media type."""
    if not hasattr(error, "status_code"):
        return _known(request, error)
    status, path = int(error.status_code), request.scope["path"]
    headers = dict(getattr(error, "headers", None) or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework lists the methods of only one of the path's routes.
        scopes: RouteScopes = request.app.state.route_scopes
        headers["Allow"] = ", ".join(scopes.methods_of(path)) or headers.get("Allow", "")
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": f"{request.method} {path}: {getattr(error, 'detail', '')}",
    }
    return _answer(request.scope, document, headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first invalid fields, each by its JSON pointer. Values are shown as shortened text, since
    NaN has no JSON form and a body may be large."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {
            "pointer": "/" + "/".join(str(part) for part in item["loc"]),
            "detail": _words(item),
            "got": _SHORT.repr(item.get("input"))[:80],
        }
        for item in itertools.islice(error.errors(), MAX_ERRORS)
    ]
    first = errors[0]
    document = problem_document(
        "InvalidRequest", 422, f"{first['pointer']}: {first['detail']}, got {first['got']}"
    )
    return _answer(request.scope, {**document, "errors": errors}, {})


def _words(item: Mapping[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return f"{item['msg']}: {item['ctx']['error']}"
    return str(item["msg"])


def _answer(
    scope: Mapping[str, Any], document: Mapping[str, Any], headers: Mapping[str, str]
) -> JSONResponse:
    about = {"instance": scope["path"], "request_id": scope.get("state", {}).get("request_id")}
    headers = {"Cache-Control": "no-store", **headers}
    return JSONResponse({**document, **about}, document["status"], headers, PROBLEM)

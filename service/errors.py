"""Errors of the service, and the one place where any error becomes a problem (RFC 9457).

SubnetSearchError           500
├── InputError              422
│   ├── NotFound            404
│   ├── Conflict            409
│   ├── Infeasible          422, with limit, budget, floor and nearest
│   ├── BadTable            422, with everything that is wrong with it
│   └── NotAvailable        501
└── StoreUnavailable        503

The same document is the body of an error answer and the `error` of a failed search.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from latency_tables.lint import BadTable
from models.errors import Conflict, Infeasible, InputError, NotFound, SubnetSearchError
from service.schemas import Problem
from service.store import StoreUnavailable

PROBLEM = "application/problem+json"
TYPES = "urn:subnet-search:problem:"


class NotAvailable(InputError):
    """A valid request for something that this version does not do."""


STATUS: Mapping[type[Exception], int] = {
    NotAvailable: 501,
    NotFound: 404,
    Conflict: 409,
    InputError: 422,
    StoreUnavailable: 503,
    SubnetSearchError: 500,
}


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem document of any exception; of a bug it says only that there is one."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            document = _problem(type(error).__name__, STATUS[kind], str(error))
            break
    else:
        document = _problem(
            "InternalError", 500, "an unexpected error, described in the log of the service"
        )
    if isinstance(error, BadTable):
        document["errors"] = [{"kind": f.kind, "detail": f.text} for f in error.findings]
    if isinstance(error, Infeasible):
        fields = ("limit", "budget", "floor", "nearest")
        document |= {name: getattr(error, name) for name in fields}
    return document


def _problem(name: str, status: int, detail: str) -> dict[str, Any]:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
    return {
        "type": TYPES + words.replace(" ", "-"),
        "title": words.capitalize(),
        "status": status,
        "detail": detail,
    }


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's documentation says about its error answers."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {s: {"model": Problem, "content": {PROBLEM: {"schema": schema}}} for s in statuses}


def register(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(RequestValidationError, _invalid)
    for status in HTTPStatus:
        if 400 <= status < 500:
            app.add_exception_handler(status.value, _http)
    app.add_exception_handler(SubnetSearchError, _known)
    app.add_exception_handler(Exception, _known)


def _known(request: Request, error: Exception) -> JSONResponse:
    return _answer(request, problem_of(error))


def _http(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: no such path, method, body."""
    if not hasattr(error, "status_code"):
        return _known(request, error)
    status = int(error.status_code)
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": f"{request.method} {request.url.path}: {getattr(error, 'detail', '')}",
    }
    return _answer(request, document, getattr(error, "headers", None))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Each field that does not hold, by its JSON pointer. Values are shown as text, cut short:
    a NaN has no JSON form, and a body may be large."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {
            "pointer": "/" + "/".join(str(part) for part in item["loc"]),
            "detail": item["msg"],
            "got": repr(item.get("input"))[:80],
        }
        for item in error.errors()
    ]
    first = errors[0]
    document = _problem(
        "InvalidRequest", 422, f"{first['pointer']}: {first['detail']}, got {first['got']}"
    )
    return _answer(request, {**document, "errors": errors})


def _answer(
    request: Request, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(
        {**document, "instance": request.url.path}, document["status"], headers, PROBLEM
    )

"""Problem documents (RFC 9457): what an error answer and the `error` of a failed search hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from latency_tables.table import BadTable
from models.errors import (
    Conflict,
    Infeasible,
    InputError,
    InvalidDocument,
    NotFound,
    SubnetSearchError,
)
from service.contracts.errors import (
    BadRequest,
    CrossOrigin,
    DownloadFailed,
    Gone,
    InvalidKey,
    NotAllowed,
    QueueFull,
    StoreUnavailable,
    TooManyRequests,
    UnknownHost,
    UnnamedProxy,
)

TYPES = "urn:subnet-search:problem:"
STATUS: Mapping[type[Exception], int] = {
    BadRequest: 400,
    Gone: 410,
    InvalidKey: 401,
    NotAllowed: 403,
    CrossOrigin: 403,
    UnnamedProxy: 403,
    UnknownHost: 421,
    TooManyRequests: 429,
    NotFound: 404,
    Conflict: 409,
    InputError: 422,
    QueueFull: 429,
    StoreUnavailable: 503,
    DownloadFailed: 502,
    SubnetSearchError: 500,
}
"""HTTP status by error class; a subclass has that of its nearest base."""


class Problem(BaseModel):
    """RFC 9457. `limit`, `budget`, `floor` or `ceiling`, and `nearest` come with what no network
    can meet."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What, expected, got, and what to do.")
    instance: str = Field(description="Path of the request.")
    request_id: str | None = Field(
        None, description="By which the log of the service names the request."
    )
    limit: str | None = Field(None, description="The limit that binds.")
    budget: float | None = Field(None, description="What was asked of it.")
    floor: float | None = Field(None, description="The least it can be on this device.")
    ceiling: float | None = Field(
        None, description="Of a lower limit, or a target's top1: the largest that it can be."
    )
    nearest: dict[str, float] | None = Field(
        None, description="Budgets by name, near those asked, that can be met together."
    )
    errors: list[dict[str, str]] | None = Field(
        None, description="Each field that does not hold, or each thing wrong with a table."
    )


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem document of any exception; of a bug it says only that there is one."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return problem_document(
            "InternalError", 500, "an unexpected error, described in the log of the service"
        )
    kind = InputError if isinstance(error, InvalidDocument) else type(error)
    document = problem_document(kind.__name__, status, str(error))
    if isinstance(error, BadTable):
        document["errors"] = [{"kind": f.kind, "detail": f.text} for f in error.findings]
    if isinstance(error, Infeasible):
        which = "floor" if error.ceiling is None else "ceiling"
        fields = ("limit", "budget", which, "nearest")
        document |= {name: getattr(error, name) for name in fields}
    return document


def problem_document(name: str, status: int, detail: str) -> dict[str, Any]:
    """A problem document of the type that `name`, in CamelCase, names."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
    return {
        "type": TYPES + words.replace(" ", "-"),
        "title": words.capitalize(),
        "status": status,
        "detail": detail,
    }

"""The parts of the API's description that all routes share: keys, limits, errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI

from service.contracts import Problem, Rule
from service.http.problems import PROBLEM
from service.http.scopes import requires

BEARER = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key as `subnet-search keys create` prints it. Needed once "
        "a key exists, and before that from other machines and through proxies. Scopes: read, "
        "search (which includes read), admin (which includes all).",
    }
}
NO_NUL = "^[^\\u0000]*$"
"""Pattern of texts in paths, queries and headers: databases store no NUL."""
TAGS = (
    {"name": "searches", "description": "Search a network for a device, take the checked model."},
    {"name": "supernets", "description": "What can be searched, its fronts, how it was trained."},
    {"name": "devices", "description": "Latency tables: list them, add one, refine one."},
    {"name": "networks", "description": "Networks that were published for single devices."},
    {"name": "links", "description": "Measure another device through its browser."},
    {"name": "operation", "description": "Whether the service answers and is ready; metrics."},
)
"""What the tags of operations mean, in the order in which documentation shows them."""
_OF_ALL = (400, 500)
_WITH_KEY = (401, 403, 429, 503)
_WITH_BODY = (413, 415)
_HEADERS = {
    401: {"WWW-Authenticate": "How to bring a key."},
    403: {"WWW-Authenticate": "Names the scope as what is missing."},
    429: {"Retry-After": "Seconds."},
    503: {"Retry-After": "Seconds."},
}


def complete(app: FastAPI, access: Literal["auto", "required", "off"]) -> None:
    """Describe what the middleware of `app` does to every request; make the description public."""
    described = app.openapi
    (route,) = (r for r in app.routes if getattr(r, "path", None) == app.openapi_url)
    requires("public")(route.endpoint)  # type: ignore[attr-defined]

    def openapi() -> dict[str, Any]:
        document = described()
        components = document["components"]
        if "securitySchemes" not in components:
            components["securitySchemes"] = BEARER
            components["schemas"].setdefault(
                Problem.__name__,
                Problem.model_json_schema(ref_template="#/components/schemas/{model}"),
            )
            for path, item in document["paths"].items():
                for method, operation in item.items():
                    rule = app.state.route_scopes.rule_of(method.upper(), path)
                    _complete(operation, rule, access)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], rule: Rule, access: str) -> None:
    statuses = list(_OF_ALL)
    if rule != "public":
        operation["security"] = [{"bearer": []}] + ([{}] if access != "required" else [])
        operation["description"] = f"{operation['description']}\n\nScope: {rule}."
        statuses += _WITH_KEY
    for parameter in operation.get("parameters", ()):
        for schema in (parameter["schema"], *parameter["schema"].get("anyOf", ())):
            if schema.get("type") == "string" and not {"pattern", "enum"} & set(schema):
                schema["pattern"] = NO_NUL
    if "requestBody" in operation:
        statuses += _WITH_BODY
    for answer in operation["responses"].values():
        for media in answer.get("content", {}).values():
            if "itemSchema" in media:
                _make_events_valid(media)
    for status in statuses:
        operation["responses"].setdefault(str(status), _problem(status))
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _make_events_valid(media: dict[str, Any]) -> None:
    """Move what FastAPI says of one event out of `itemSchema`: that word is of OpenAPI 3.2, and
    validators of 3.1 and generators of clients refuse the document for it."""
    media["x-itemSchema"] = media.pop("itemSchema")
    words = "Server-sent events. Each has an `event`, an `id` and, in `data`, a JSON document."
    media["schema"] = {"type": "string", "description": words}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM: {"schema": schema}},
    }
    if status in _HEADERS:
        answer["headers"] = {
            name: {"description": words, "schema": {"type": "string"}}
            for name, words in _HEADERS[status].items()
        }
    return answer

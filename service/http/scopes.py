"""The scope that each route requires: declared on its endpoint, read wherever it matters.

`auth` admits requests by it, `openapi` describes it, and `problems` lists a path's methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from service.contracts import Rule

E = TypeVar("E", bound=Callable[..., Any])


def requires(rule: Rule, *, audited: bool = True) -> Callable[[E], E]:
    """Declare the narrowest scope whose keys may call an endpoint; "public" needs no key.

    Args:
        audited: whether the audit log has an entry of each call that may change something.
    """

    def declare(endpoint: E) -> E:
        endpoint.required_scope = rule  # type: ignore[attr-defined]
        endpoint.is_audited = audited  # type: ignore[attr-defined]
        return endpoint

    return declare


class RouteScopes:
    """The required scopes of an application's routes; a route that declares none is "admin"."""

    def __init__(self, app: FastAPI) -> None:
        self._routes = [
            (
                # A mounted folder has no methods of its own.
                frozenset(context.methods or ("GET", "HEAD")),
                context.path_regex,
                _declared(context),
                getattr(context.endpoint, "is_audited", True),
            )
            for context in iter_route_contexts(app.routes)
        ]

    def rule_of(self, method: str, path: str) -> Rule:
        """What a request requires; HEAD requires what GET does."""
        wanted = "GET" if method == "HEAD" else method
        for methods, pattern, rule, _ in self._routes:
            if wanted in methods and pattern.match(path):
                return rule
        return "admin"

    def is_audited(self, method: str, path: str) -> bool:
        """Whether a request that may change something is recorded."""
        for methods, pattern, _, audited in self._routes:
            if method in methods and pattern.match(path):
                return audited
        return True

    def methods_of(self, path: str) -> list[str]:
        """The methods that a path answers, sorted."""
        known = (methods for methods, pattern, _, _ in self._routes if pattern.match(path))
        found = set().union(*known)
        return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _declared(context: Any) -> Rule:
    """What a route's endpoint, or the application mounted there, declares."""
    target = context.endpoint or getattr(context, "app", None)
    rule: Rule = getattr(target, "required_scope", "admin")
    return rule

"""Who may do what: callers, scopes, and the rule of every route.

A scope includes those before it: "read" looks, "search" also asks for searches and adds devices,
"admin" also sees what belongs to others. Without keys the caller is this machine's own user.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Literal

Scope = Literal["read", "search", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "search", "admin")
Rule = Literal["public", "read", "search", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    owner: str | None
    """To whom belongs what this caller makes; None without keys."""
    scope: Scope
    key_id: str | None = None

    def may(self, rule: Rule) -> bool:
        """Whether the scope is wide enough."""
        return rule == "public" or SCOPES.index(self.scope) >= SCOPES.index(rule)

    @property
    def sees_all(self) -> bool:
        """Whether also what belongs to others."""
        return self.scope == "admin"

    def sees(self, owner: str | None, shared: bool) -> bool:
        """Whether something of that owner exists for this caller."""
        return self.sees_all or shared or (owner is not None and owner == self.owner)

    def owns(self, owner: str | None) -> bool:
        """Whether this caller may change something of that owner."""
        return self.sees_all or (owner is not None and owner == self.owner)


LOCAL = Caller(owner=None, scope="admin")
"""Whoever uses this machine, where no keys are asked for."""

RULES: dict[tuple[str, str], Rule] = {
    ("GET", "/"): "public",
    ("GET", "/docs"): "public",
    ("GET", "/assets/{path:path}"): "public",
    ("GET", "/openapi.json"): "public",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "read",
    ("GET", "/v1/supernets"): "read",
    ("GET", "/v1/supernets/{name}"): "read",
    ("GET", "/v1/supernets/{name}/architecture.svg"): "read",
    ("GET", "/v1/supernets/{name}/ledger"): "read",
    ("GET", "/v1/supernets/{name}/devices/{device}/front"): "read",
    ("GET", "/v1/supernets/{name}/devices/{device}/explain"): "read",
    ("GET", "/v1/devices"): "read",
    ("GET", "/v1/devices/{name}"): "read",
    ("POST", "/v1/devices"): "search",
    ("POST", "/v1/devices/{name}/measurements"): "search",
    ("GET", "/v1/searches"): "read",
    ("POST", "/v1/searches"): "search",
    ("GET", "/v1/searches/{search_id}"): "read",
    ("DELETE", "/v1/searches/{search_id}"): "search",
    ("GET", "/v1/searches/{search_id}/events"): "read",
    ("GET", "/v1/searches/{search_id}/model.onnx"): "read",
    ("GET", "/v1/searches/{search_id}/model.onnx.sig"): "read",
    ("GET", "/v1/searches/{search_id}/explain"): "read",
    ("GET", "/v1/searches/{search_id}/architecture.svg"): "read",
}
"""By method and path template; HEAD is as GET. What is not here needs "admin"."""


def _pattern(path: str) -> re.Pattern[str]:
    """A template as what it matches: `{name}` one part of a path, `{path:path}` any number."""
    parts = (".*" if part.endswith(":path}") else "[^/]+" for part in re.findall(r"{.*?}", path))
    texts = (re.escape(text) for text in re.split(r"{.*?}", path))
    return re.compile("".join(chain.from_iterable(zip_longest(texts, parts, fillvalue=""))))


_PATTERNS = [(method, _pattern(path), rule) for (method, path), rule in RULES.items()]


def rule_of(method: str, path: str) -> Rule:
    """The rule of a request."""
    wanted = "GET" if method == "HEAD" else method
    for known, pattern, rule in _PATTERNS:
        if known == wanted and pattern.fullmatch(path):
            return rule
    return "admin"


def methods_of(path: str) -> list[str]:
    """The methods that a path answers."""
    found = [method for method, pattern, _ in _PATTERNS if pattern.fullmatch(path)]
    return sorted({*found, *(["HEAD"] if "GET" in found else [])})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; of names only localhost is known to be so."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

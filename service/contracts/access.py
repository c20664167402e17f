"""Callers and scopes; hosts as they stand in Host headers, settings and sockets.

A scope includes those before it: "read" reads, "search" also submits searches and adds devices,
"admin" also sees what belongs to others. Where no keys are required, every caller is `LOCAL`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

Scope = Literal["read", "search", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "search", "admin")
Rule = Literal["public", "read", "search", "admin"]
HOST_NAME = re.compile(r"[a-z0-9_.*-]+")
"""Characters of a name, and of a pattern of names; others are written in Punycode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request."""

    owner: str | None
    """Owner of what this caller creates; None without keys."""
    scope: Scope
    key_id: str | None = None

    def may(self, rule: Rule) -> bool:
        """Whether the scope is wide enough."""
        return rule == "public" or SCOPES.index(self.scope) >= SCOPES.index(rule)

    @property
    def sees_all(self) -> bool:
        """Whether this caller sees what belongs to others, too."""
        return self.scope == "admin"

    def sees(self, owner: str | None, shared: bool) -> bool:
        """Whether something of that owner exists for this caller."""
        return self.sees_all or shared or (owner is not None and owner == self.owner)

    def owns(self, owner: str | None) -> bool:
        """Whether this caller may change something of that owner."""
        return self.sees_all or (owner is not None and owner == self.owner)


LOCAL = Caller(owner=None, scope="admin")
"""The caller where no key is required: this machine's own user."""


def read_host(text: str) -> tuple[str, int | None]:
    """Host and port of `name`, `name:8080`, `10.0.0.7`, `[::1]:8080` or `::1`; see `normal_host`.

    Raises:
        ValueError: if it is none of these.
    """
    if is_address(text):  # also of IPv6 without brackets
        return normal_host(text), None
    parts = urlsplit(f"//{text}")
    host = normal_host(parts.hostname or "")
    named = is_address(host) or HOST_NAME.fullmatch(host)
    if parts.netloc != text or "@" in text or not named:
        raise ValueError(f"expected hosts such as subnet.example.com or 10.0.0.7:8080, got {text}")
    return host, parts.port


def normal_host(host: str) -> str:
    """One form for all that mean the same: a name in lower case without the dot that may end it,
    an address as short as it can be."""
    host = host.strip("[]").lower().removesuffix(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_address(host: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone; of names only localhost counts."""
    host = normal_host(host)
    return ip_address(host).is_loopback if is_address(host) else host == "localhost"

"""Callers and scopes.

A scope includes those before it: "read" reads, "search" also submits searches and adds devices,
"admin" also sees what belongs to others. Where no keys are required, every caller is `LOCAL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

Scope = Literal["read", "search", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "search", "admin")
Rule = Literal["public", "read", "search", "admin"]


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
"""The caller where no keys are required: this machine's own user."""


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone; of names only localhost counts."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

"""Immutable values that the store takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINISHED = ("succeeded", "failed", "cancelled")
Sort = Literal["created_at", "-created_at", "latency_ms", "-latency_ms", "top1", "-top1"]
"""Order of a list of searches; a leading minus: descending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSearch:
    """A search to be stored: its request in canonical form, and the hash of that form."""

    request: Mapping[str, Any]
    request_sha256: str
    supernet: str
    device: str
    profile_sha256: str
    profile: str
    """Text of the latency table that `profile_sha256` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One stored search as it was when it was read."""

    id: str
    request: Mapping[str, Any]
    profile_sha256: str
    status: str
    run: int
    """Counts from 1; rises when a failed or cancelled search is submitted again."""
    attempts: int
    """How often workers started this run."""
    result: Mapping[str, Any] | None
    artifact_sha256: str | None
    error: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def workflow_id(self) -> str:
        """What DBOS calls this run."""
        return f"{self.id}.{self.run}"

    @property
    def finished(self) -> bool:
        """Whether it has ended; only another submission changes it."""
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class SearchState:
    """The columns of a stored search that decide whether its cached answer still holds."""

    id: str
    run: int
    status: str
    device: str
    profile_sha256: str
    tries: int = 0
    """Counts the devices that its model was tried on."""

    @property
    def finished(self) -> bool:
        """As `Search.finished`."""
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a search."""

    id: int
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Worked:
    """The searches of a supernet that succeeded, and the time that workers spent on them."""

    count: int
    seconds: float
    """Sum over these searches, from the start of the work to its end."""

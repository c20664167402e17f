"""What the store takes and gives: values that do not change, unlike the rows they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from service.storage import SearchRow

FINISHED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSearch:
    """A search to be: its request in canonical form, and that form's hash."""

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
    """Counts from 1; a search that failed or was cancelled and is asked again runs again."""
    attempts: int
    """How often workers took this run up."""
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
        """Whether nothing more will happen to it by itself."""
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class SearchState:
    """Of one stored search what may change, and what the answer to that depends on."""

    id: str
    run: int
    status: str
    device: str
    profile_sha256: str

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


def read_search(row: SearchRow | Row[Any]) -> Search:
    """The value of a row, or of a row's columns."""
    return Search(
        id=row.id,
        request=row.request,
        profile_sha256=row.profile_sha256,
        status=row.status,
        run=row.run,
        attempts=row.attempts,
        result=row.result,
        artifact_sha256=row.artifact_sha256,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )

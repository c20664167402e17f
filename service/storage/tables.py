"""The rows. What must hold of them is said to the database, not only to its callers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")

LINK_STATUSES = ("open", "opened", "running", "succeeded", "failed", "expired", "cancelled")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware in Python, UTC in the database, also where it keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that a later migration can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
    }


class ProfileRow(Base):
    """The text of a latency table by its sha256: a search keeps the one it was asked with."""

    __tablename__ = "profiles"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class DeviceTableRow(Base):
    """One revision of a user's table for a device, space and precision; revisions are kept."""

    __tablename__ = "device_tables"

    private_to: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The owner who alone sees it; empty: everybody does."""
    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    space: Mapped[str] = mapped_column(String(64), primary_key=True)
    precision: Mapped[str] = mapped_column(String(8), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Counts from 1; the largest is current."""
    sha256: Mapped[str] = mapped_column(ForeignKey("profiles.sha256"))
    measurements: Mapped[dict[str, Any] | None]
    """Whole networks by which the revision before was corrected; None where a table was given."""
    created_at: Mapped[datetime]
    owner: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        CheckConstraint("revision >= 1", name="revision"),
        CheckConstraint(
            "private_to = '' OR (owner IS NOT NULL AND private_to = owner)", name="private_to"
        ),
        Index(None, "sha256"),
    )


class SearchRow(Base):
    """One search: what was asked, who works on it, what came of it."""

    __tablename__ = "searches"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    request: Mapped[dict[str, Any]]
    supernet: Mapped[str] = mapped_column(String(64), index=True)
    device: Mapped[str] = mapped_column(String(64))
    profile_sha256: Mapped[str] = mapped_column(ForeignKey("profiles.sha256"))
    status: Mapped[str] = mapped_column(String(9))
    run: Mapped[int] = mapped_column(default=1, server_default="1")
    """Counts how often it was asked anew after it had failed or been cancelled."""
    worker: Mapped[str | None] = mapped_column(String(200))
    """The executor that works on it, while it runs."""
    attempts: Mapped[int] = mapped_column(default=0)
    result: Mapped[dict[str, Any] | None]
    latency_ms: Mapped[float | None]
    top1: Mapped[float | None]
    artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[dict[str, Any] | None]
    # The database's default alone: rows of an older backup are put into its schema, without this.
    tries: Mapped[int] = mapped_column(server_default="0")
    """Counts the devices that the model was tried on, each of which changes the result."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        CheckConstraint("(status = 'running') = (worker IS NOT NULL)", name="worker"),
        CheckConstraint("(status = 'succeeded') = (result IS NOT NULL)", name="result"),
        CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="error"),
        CheckConstraint(
            "(status IN ('queued', 'running')) = (finished_at IS NULL)", name="finished_at"
        ),
        Index(None, "status", "created_at"),
        Index(None, "created_at", "id"),
        Index(None, "device", "created_at", "id"),
        Index(None, "latency_ms", "id"),
        Index(None, "top1", "id"),
    )


class ExecutorRow(Base):
    """A process that works on searches, for as long as it is not known to have ended."""

    __tablename__ = "executors"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    beats: Mapped[int] = mapped_column(default=0)
    """Grows while it lives. Others tell by it, so that no two clocks are compared."""
    token: Mapped[str] = mapped_column(String(32), default="", server_default="")
    """Of the last heartbeat; only who stored it knows it."""
    started_at: Mapped[datetime]


class CounterRow(Base):
    """A number that only grows, of all workers together: what /metrics shows of their work."""

    __tablename__ = "tallies"  # its name in databases of every version

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[float] = mapped_column(default=0.0)


class EventRow(Base):
    """Something that happened to a search; `id` grows, so that a stream can be resumed."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"))
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]

    __table_args__ = (Index(None, "search_id", "id"), {"sqlite_autoincrement": True})


class SearchOwnerRow(Base):
    """To whom a search belongs. One that was asked for without a key has no owner."""

    __tablename__ = "search_owners"

    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    shared: Mapped[bool]
    """Whether others see it."""

    __table_args__ = (Index(None, "owner"), Index(None, "shared"))


class IdempotencyRow(Base):
    """A client's own key for one request."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"))
    created_at: Mapped[datetime]


class WebhookRow(Base):
    """An address that is to be told of a search's end, once for each time that was asked."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    status: Mapped[str] = mapped_column(String(9))
    body: Mapped[str | None] = mapped_column(Text)
    """What is sent, fixed when the search ends."""
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(300))
    """What went wrong last."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("status IN ('waiting', 'queued', 'delivered', 'failed')", name="status"),
        CheckConstraint("(status = 'waiting') = (body IS NULL)", name="body"),
        CheckConstraint(
            "(status IN ('delivered', 'failed')) = (ended_at IS NOT NULL)", name="ended_at"
        ),
        Index(None, "status", "created_at"),
    )


class LinkRow(Base):
    """A one-time address that another device opens, and what came of it. Its code and the secret of
    its session are known by their hashes alone."""

    __tablename__ = "links"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    code_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    session_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    owner: Mapped[str | None] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(6))
    key_id: Mapped[str | None] = mapped_column(String(12))
    request: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(9))
    progress: Mapped[dict[str, Any] | None]
    progress_at_s: Mapped[float]
    """Unix time of the last progress that was stored, seconds."""
    results: Mapped[dict[str, Any]]
    """By backend: the hash of what the device sent, and how it was answered."""
    error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"status IN {LINK_STATUSES}", name="status"),
        CheckConstraint("(session_sha256 IS NULL) = (opened_at IS NULL)", name="opened_at"),
        CheckConstraint("scope IN ('read', 'search', 'admin')", name="scope"),
        Index(None, "owner", "status"),
        Index(None, "expires_at"),
    )


class ApiKeyRow(Base):
    """An API key by the hash of its secret, with its token bucket."""

    __tablename__ = "api_keys"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(6))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    tokens: Mapped[float]
    """Requests that it may still make at once, as of `tokens_at_s`."""
    tokens_at_s: Mapped[float]
    """Unix time, seconds: databases differ in how they subtract moments."""

    __table_args__ = (CheckConstraint("scope IN ('read', 'search', 'admin')", name="scope"),)


class AuditRow(Base):
    """Something that somebody changed, or tried to."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    owner: Mapped[str | None] = mapped_column(String(64))
    key_id: Mapped[str | None] = mapped_column(String(12))
    action: Mapped[str] = mapped_column(String(300))
    target: Mapped[str | None] = mapped_column(String(300))
    status: Mapped[int | None]
    request_id: Mapped[str | None] = mapped_column(String(32))

    __table_args__ = (Index(None, "owner", "id"), {"sqlite_autoincrement": True})

"""Links to other devices: every query about them.

States: open -> opened (claimed, once) -> running -> succeeded | failed; any of the first three ->
cancelled, or expired when its time is over. Codes and secrets are stored as hashes alone.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from models.errors import Conflict, NotFound
from service.contracts import ENDED, Caller, Gone, Scope, TooManyRequests
from service.storage.access.api_keys import sha256_of_secret
from service.storage.sessions import read_connection, unit_of_work, utc_now
from service.storage.tables import ApiKeyRow, LinkRow

OPEN_FOR = timedelta(minutes=30)
"""Within which a link is opened, and how long a session lasts."""
KEPT_FOR = timedelta(days=1)
"""How long a link is known after its time is over."""
MAX_OPEN = 20
"""Links that a caller may have at a time."""
LEAST_BETWEEN_S = 0.4
"""Between two stored reports of a device's progress; what comes sooner is not stored."""
ACTIVE = ("open", "opened", "running")
CODE_BYTES, SESSION_BYTES = 16, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as it was when it was read."""

    id: str
    owner: str | None
    scope: Scope
    key_id: str | None
    request: Mapping[str, Any]
    """What was asked, in canonical form, with `purpose`, `warnings` and what else is fixed."""
    status: str
    progress: Mapping[str, Any] | None
    results: Mapping[str, Mapping[str, Any]]
    error: str | None
    created_at: datetime
    expires_at: datetime
    opened_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it."""
        return self.status in ENDED

    @property
    def caller(self) -> Caller:
        """On whose behalf its device acts."""
        return Caller(owner=self.owner, scope=self.scope, key_id=self.key_id)


class LinkStore:
    """Links in a database whose schema is current; as safe to share as `SearchStore`."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    # -- the host's side -----------------------------------------------------------------

    def add(self, request: Mapping[str, Any], caller: Caller) -> tuple[Link, str]:
        """A new link and its code, which is kept nowhere. Old links are cleaned up.

        Raises:
            TooManyRequests: if the caller has as many open ones as it may.
        """
        code, now = secrets.token_urlsafe(CODE_BYTES), self._now()
        row = LinkRow(
            id=uuid.uuid4().hex,
            code_sha256=sha256_of_secret(code),
            owner=caller.owner,
            scope=caller.scope,
            key_id=caller.key_id,
            request=dict(request),
            status="open",
            progress_at_s=0.0,
            results={},
            created_at=now,
            expires_at=now + OPEN_FOR,
        )
        with unit_of_work(self._engine) as session:
            self._clean(session, now)
            active = select(func.count()).where(
                LinkRow.owner.is_(None) if caller.owner is None else LinkRow.owner == caller.owner,
                LinkRow.status.in_(ACTIVE),
            )
            if (session.scalar(active) or 0) >= MAX_OPEN:
                raise TooManyRequests(
                    f"{MAX_OPEN} links of yours are open: cancel one (DELETE /v1/links/ID), or "
                    "wait until one has expired",
                    60,
                )
            session.add(row)
            session.flush()
            return self._read(row), code

    def get(self, link_id: str) -> Link:
        """One link.

        Raises:
            NotFound: if there is none.
        """
        with unit_of_work(self._engine) as session:
            row = session.get(LinkRow, link_id)
            if row is None:
                raise unknown_link(link_id)
            return self._read(row)

    def names_in_use(self, owner: str | None) -> set[str]:
        """Devices that an owner's open links name."""
        mine = LinkRow.owner.is_(None) if owner is None else LinkRow.owner == owner
        requests = select(LinkRow.request).where(mine, LinkRow.status.in_(ACTIVE))
        with read_connection(self._engine) as connection:
            names = [request.get("device") for request in connection.scalars(requests)]
        return {name for name in names if name is not None}

    def cancel(self, link_id: str) -> Link:
        """End a link; twice is once.

        Raises:
            NotFound: if there is none.
            Conflict: if it has ended otherwise.
        """
        now = self._now()
        stop = (
            update(LinkRow)
            .where(LinkRow.id == link_id, LinkRow.status.in_(ACTIVE))
            .values(status="cancelled", finished_at=now)
        )
        with unit_of_work(self._engine) as session:
            session.execute(stop.execution_options(synchronize_session=False))
        link = self.get(link_id)
        if link.status != "cancelled":
            raise Conflict(f"link {link_id} has {link.status} and cannot be cancelled")
        return link

    # -- the device's side ---------------------------------------------------------------

    def find_by_code(self, code: str) -> Link:
        """The link of a code, opened or not.

        Raises:
            NotFound: if there is none.
        """
        return self._one(LinkRow.code_sha256 == sha256_of_secret(code), "this link is not known")

    def claim(self, link: Link, request: Mapping[str, Any]) -> tuple[Link, str]:
        """Open a link, once: its session's secret, which is kept nowhere.

        Args:
            request: what is done from now on.

        Raises:
            Gone: if it was opened before, has expired or was cancelled.
        """
        secret, now = secrets.token_urlsafe(SESSION_BYTES), self._now()
        opened = (
            update(LinkRow)
            .where(LinkRow.id == link.id, LinkRow.status == "open", LinkRow.expires_at > now)
            .values(
                status="opened",
                session_sha256=sha256_of_secret(secret),
                request=dict(request),
                opened_at=now,
                expires_at=now + OPEN_FOR,
            )
            .returning(LinkRow.id)
            .execution_options(synchronize_session=False)
        )
        with unit_of_work(self._engine) as session:
            claimed = session.scalar(opened) is not None
        link = self.get(link.id)
        if not claimed:
            raise link_gone(link)
        return link, secret

    def of_session(self, secret: str) -> Link:
        """The link of a session, ended or not.

        Raises:
            NotFound: if there is none.
        """
        return self._one(
            LinkRow.session_sha256 == sha256_of_secret(secret),
            "this session is not known: open a new link",
        )

    def report(self, link: Link, progress: Mapping[str, Any], stopped: str | None = None) -> None:
        """Keep how far a device is, unless it has said so a moment ago or its link has ended.

        Args:
            stopped: why the device gave up, which ends the link.
        """
        now = self._now()
        ends = {} if stopped is None else {"error": stopped[:300], "finished_at": now}
        least_s = LEAST_BETWEEN_S if stopped is None else 0.0
        due = (
            update(LinkRow)
            .where(
                LinkRow.id == link.id,
                LinkRow.status.in_(("opened", "running")),
                LinkRow.progress_at_s <= now.timestamp() - least_s,
            )
            .values(
                status="running" if stopped is None else "failed",
                progress={**progress, "updated_at": now.isoformat()},
                progress_at_s=now.timestamp(),
                **ends,
            )
            .execution_options(synchronize_session=False)
        )
        with unit_of_work(self._engine) as session:
            session.execute(due)

    def record(self, link: Link, backend: str, result: Mapping[str, Any], *, last: bool) -> Link:
        """Keep what came of one backend; the link ends with the last of them.

        Args:
            last: whether no other is to come, although the link asks for it.

        Raises:
            Gone: if it has ended meanwhile.
        """
        with unit_of_work(self._engine) as session:
            # Changing nothing holds the row on either database, so that no other result is lost.
            held = update(LinkRow).where(LinkRow.id == link.id).values(scope=LinkRow.scope)
            session.execute(held.execution_options(synchronize_session=False))
            row = session.get_one(LinkRow, link.id, populate_existing=True)
            if row.status not in ACTIVE:
                raise link_gone(self._read(row))
            row.results = {**row.results, backend: dict(result)}
            row.status = "running"
            if last or set(row.request["backends"]) <= set(row.results):
                row.status, row.finished_at = "succeeded", self._now()
            session.flush()
            return self._read(row)

    def is_backed(self, link: Link) -> bool:
        """Whether the key that a link was made with still opens anything."""
        if link.key_id is None:
            return True
        keys = select(ApiKeyRow).where(ApiKeyRow.sha256.startswith(link.key_id, autoescape=True))
        with unit_of_work(self._engine) as session:
            now = self._now()
            return any(
                key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
                for key in session.scalars(keys)
            )

    def _one(self, condition: Any, otherwise: str) -> Link:
        with unit_of_work(self._engine) as session:
            row = session.scalar(select(LinkRow).where(condition))
            if row is None:
                raise NotFound(otherwise)
            return self._read(row)

    def _clean(self, session: Session, now: datetime) -> None:
        """Mark what has expired, and forget what ended long ago."""
        for statement in (
            delete(LinkRow).where(LinkRow.expires_at <= now - KEPT_FOR),
            update(LinkRow)
            .where(LinkRow.expires_at <= now, LinkRow.status.in_(ACTIVE))
            .values(status="expired", finished_at=now),
        ):
            session.execute(statement.execution_options(synchronize_session=False))

    def _read(self, row: LinkRow) -> Link:
        over = row.status in ACTIVE and row.expires_at <= self._now()
        return Link(
            id=row.id,
            owner=row.owner,
            scope=cast(Scope, row.scope),
            key_id=row.key_id,
            request=row.request,
            status="expired" if over else row.status,
            progress=row.progress,
            results=row.results,
            error=row.error,
            created_at=row.created_at,
            expires_at=row.expires_at,
            opened_at=row.opened_at,
            finished_at=row.finished_at,
        )


def unknown_link(link_id: str) -> NotFound:
    """The error of a link that does not exist, or that the caller may not see."""
    return NotFound(f"unknown link {link_id[:40]!r}: POST /v1/links makes one")


def link_gone(link: Link) -> Gone:
    """The error of a link that can no longer be used."""
    why = {
        "expired": "this link has expired",
        "cancelled": "this link was cancelled by whoever made it",
    }.get(link.status, "this link was opened already, and can be opened once")
    return Gone(f"{why}: ask for a new one")

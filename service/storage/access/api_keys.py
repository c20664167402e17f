"""API keys in the database: creating, listing, revoking and checking them.

The database holds the plain sha256 of a secret. Slow, salted hashes protect passwords because
people choose likely ones; a secret of 256 random bits cannot be guessed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from sqlalchemy import Engine, or_, select, update

from models.errors import Conflict, InputError, NotFound
from service.contracts import SCOPES, Caller, InvalidKey, Scope
from service.settings import Settings
from service.storage.access.rate_limits import RateLimit
from service.storage.sessions import unit_of_work, utc_now
from service.storage.tables import ApiKeyRow

PREFIX = "subnet_"
"""Secrets begin with it, so that whoever finds one knows what it opens."""
ID_LENGTH = 12
OWNER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}")
MAX_DAYS = 3660


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key without its secret."""

    id: str
    owner: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime
    """Of the last request; until the first, when it was made."""


class KeyStore:
    """Keys in a database whose schema is current.

    Args:
        rate_per_s: requests a second that a key's bucket is refilled by.
        burst: requests that a full bucket holds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        rate_per_s: float,
        burst: int,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine, self._now = engine, now
        self._limit = RateLimit(rate_per_s=rate_per_s, burst=burst)

    def create(self, owner: str, scope: str, expires_days: float | None = None) -> tuple[str, Key]:
        """A new key: its secret, which is kept nowhere, and what is kept.

        Raises:
            InputError: if the owner's name, the scope or the number of days does not hold.
        """
        if not OWNER.fullmatch(owner):
            raise InputError(f"owner: expected 1 to 64 of a-z A-Z 0-9 . _ @ -, got {owner!r}")
        if scope not in SCOPES:
            raise InputError(f"scope: expected one of {SCOPES}, got {scope!r}")
        if expires_days is not None and not 0 < expires_days <= MAX_DAYS:
            raise InputError(f"expires: expected up to {MAX_DAYS} days, got {expires_days:g}")
        secret, now = PREFIX + secrets.token_urlsafe(32), self._now()
        row = ApiKeyRow(
            sha256=sha256_of_secret(secret),
            owner=owner,
            scope=scope,
            created_at=now,
            expires_at=None if expires_days is None else now + timedelta(days=expires_days),
            tokens=float(self._limit.burst),
            tokens_at_s=now.timestamp(),
        )
        with unit_of_work(self._engine) as session:
            session.add(row)
            session.flush()
            return secret, _read(row)

    def keys(self) -> list[Key]:
        """Every key, the oldest first."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.sha256)
        with unit_of_work(self._engine) as session:
            return [_read(row) for row in session.scalars(query)]

    def revoke(self, key_id: str) -> Key:
        """Refuse a key from now on; twice is once.

        Raises:
            NotFound: if there is no such key.
            Conflict: if several begin like that.
        """
        with unit_of_work(self._engine) as session:
            found = select(ApiKeyRow).where(ApiKeyRow.sha256.startswith(key_id, autoescape=True))
            rows = session.scalars(found.limit(2)).all() if key_id else []
            if not rows:
                raise NotFound(f"unknown key {key_id!r}: see `subnet-search keys list`")
            if len(rows) > 1:
                raise Conflict(f"several keys begin with {key_id!r}: give more of it")
            rows[0].revoked_at = rows[0].revoked_at or self._now()
            session.flush()
            return _read(rows[0])

    def admit(self, secret: str) -> Caller:
        """The caller that a secret belongs to; the request counts against the key's rate.

        Raises:
            InvalidKey: if it is unknown, expired or revoked.
            TooManyRequests: if the key has used up its rate.
        """
        now, sha256 = self._now(), sha256_of_secret(secret)
        tokens_now = self._limit.tokens_at(now)
        take = (
            update(ApiKeyRow)
            .where(
                ApiKeyRow.sha256 == sha256,
                ApiKeyRow.revoked_at.is_(None),
                or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > now),
                tokens_now >= 1,
            )
            .values(tokens=tokens_now - 1, tokens_at_s=now.timestamp())
            .returning(ApiKeyRow.owner, ApiKeyRow.scope)
            .execution_options(synchronize_session=False)
        )
        with unit_of_work(self._engine) as session:
            if (row := session.execute(take).one_or_none()) is not None:
                return Caller(owner=row.owner, scope=row.scope, key_id=sha256[:ID_LENGTH])
            asked = select(ApiKeyRow, tokens_now.label("tokens_now"))
            found = session.execute(asked.where(ApiKeyRow.sha256 == sha256)).one_or_none()
            if found is None:
                raise InvalidKey("unknown API key: `subnet-search keys create` makes one")
            key, tokens = _read(found[0]), found.tokens_now
        if key.revoked_at is not None:
            raise InvalidKey(f"API key {key.id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC")
        if key.expires_at is not None and key.expires_at <= now:
            raise InvalidKey(f"API key {key.id} expired at {key.expires_at:%Y-%m-%d %H:%M} UTC")
        raise self._limit.exceeded(key.id, tokens)


def open_keys(engine: Engine, settings: Settings) -> KeyStore:
    """The keys of an installation."""
    return KeyStore(engine, rate_per_s=settings.rate_per_s, burst=settings.rate_burst)


def sha256_of_secret(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(row: ApiKeyRow) -> Key:
    return Key(
        id=row.sha256[:ID_LENGTH],
        owner=row.owner,
        scope=cast(Scope, row.scope),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=datetime.fromtimestamp(row.tokens_at_s, UTC),
    )

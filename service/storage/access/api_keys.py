"""API keys in the database: creating, listing, revoking and checking them.

A key is checked by reading; `key_use` counts its requests, and `KeyStore.settle` writes the counts.

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
from threading import Lock
from typing import cast

from sqlalchemy import Engine, Table, bindparam, select, update

from models.errors import Conflict, InputError, NotFound
from service.contracts import SCOPES, Caller, InvalidKey, Scope
from service.settings import Settings
from service.storage.access.key_use import FRESH_S, KeyState, KeyUse
from service.storage.access.rate_limits import Bucket, RateLimit
from service.storage.sessions import read_connection, unit_of_work, utc_now
from service.storage.tables import ApiKeyRow

PREFIX = "subnet_"
"""Secrets begin with it, so that whoever finds one knows what it opens."""
ID_LENGTH = 12
OWNER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}")
MAX_DAYS = 3660

_TABLE = cast(Table, ApiKeyRow.__table__)
_COLUMNS = _TABLE.c
_ONE = select(*_COLUMNS).where(_COLUMNS.sha256 == bindparam("key"))
_ANY = select(_COLUMNS.sha256).limit(1)
# A change that changes nothing holds the row on either database, where SQLite knows no FOR UPDATE.
_LOCK = (
    update(_TABLE)
    .where(_COLUMNS.sha256 == bindparam("key"))
    .values(tokens=_COLUMNS.tokens)
    .returning(_COLUMNS.tokens, _COLUMNS.tokens_at_s)
)
_WRITE = (
    update(_TABLE)
    .where(_COLUMNS.sha256 == bindparam("key"))
    .values(tokens=bindparam("left"), tokens_at_s=bindparam("at_s"))
)


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
    """Of the last request that is settled; until the first, when it was made."""

    @property
    def valid(self) -> bool:
        """Whether it opens anything now."""
        expired = self.expires_at is not None and self.expires_at <= utc_now()
        return self.revoked_at is None and not expired


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
        self._use, self._settlement = KeyUse(self._limit, now), Lock()
        self._exist, self._asked_at_s = False, float("-inf")

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
            self._use.forget(rows[0].sha256)
            return _read(rows[0])

    def known_to_exist(self) -> bool | None:
        """Whether any key was ever made, as of a moment ago; None: ask with `exist`.

        Revoked and expired keys count: revoking the last one opens nothing.
        """
        fresh = 0 <= self._now().timestamp() - self._asked_at_s < FRESH_S
        return self._exist if self._exist or fresh else None

    def exist(self) -> bool:
        """Whether any key was ever made."""
        asked_at_s = self._now().timestamp()
        with read_connection(self._engine) as connection:
            self._exist = self._exist or connection.execute(_ANY).first() is not None
        self._asked_at_s = asked_at_s
        return self._exist

    def admit_known(self, secret: str) -> Caller | None:
        """As `admit`, without a query; None if the key was not checked a moment ago."""
        return self._use.take_known(sha256_of_secret(secret))

    def admit(self, secret: str) -> Caller:
        """The caller that a secret belongs to; the request counts against the key's rate.

        Nothing is written, so it waits for no writer, and unknown keys cost a reading each.

        Raises:
            InvalidKey: if it is unknown, expired or revoked.
            TooManyRequests: if the key has used up its rate.
        """
        sha256 = sha256_of_secret(secret)
        with read_connection(self._engine) as connection:
            row = connection.execute(_ONE, {"key": sha256}).one_or_none()
        if row is None:
            raise InvalidKey("unknown API key: `subnet-search keys create` makes one")
        state = KeyState(
            caller=Caller(owner=row.owner, scope=cast(Scope, row.scope), key_id=sha256[:ID_LENGTH]),
            bucket=Bucket(row.tokens, row.tokens_at_s),
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )
        return self._use.take(sha256, state)

    def settle(self) -> int:
        """Bring what was counted in memory since the last time to the database.

        Returns:
            keys that were used.

        Raises:
            StoreUnavailable: if the database does not answer; the counts are kept.
        """
        with self._settlement:
            settled = dict[str, Bucket]()
            counted, now_s = self._use.begin_settlement(), self._now().timestamp()
            if counted:
                with unit_of_work(self._engine) as session:
                    # In one order, so that two processes cannot deadlock.
                    for sha256, (own, taken) in sorted(counted.items()):
                        if (row := session.execute(_LOCK, {"key": sha256}).one_or_none()) is None:
                            continue
                        shared = Bucket(row.tokens, row.tokens_at_s)
                        settled[sha256] = bucket = self._limit.settled(shared, own, taken, now_s)
                        values = {"left": bucket.tokens, "at_s": bucket.at_s}
                        session.execute(_WRITE, {"key": sha256, **values})
            self._use.end_settlement(settled)
        return len(settled)


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

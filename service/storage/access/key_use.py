"""The keys that this process admits requests of: checked against the database ten times a second at
most, and counted in memory.

Nothing is written while a request waits. `KeyStore.settle` takes the counts to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from service.contracts import Caller, InvalidKey
from service.storage.access.rate_limits import Bucket, RateLimit, is_ahead

FRESH_S = 0.1
"""How long what the database says of a key is believed; so soon is a revoked key refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What the database says of a key."""

    caller: Caller
    bucket: Bucket
    expires_at: datetime | None
    revoked_at: datetime | None

    def check(self, now: datetime) -> None:
        """
        Raises:
            InvalidKey: if the key is revoked or expired.
        """
        if self.revoked_at is not None:
            raise InvalidKey(
                f"API key {self.caller.key_id} was revoked at {self.revoked_at:%Y-%m-%d %H:%M} UTC"
            )
        if self.expires_at is not None and self.expires_at <= now:
            raise InvalidKey(
                f"API key {self.caller.key_id} expired at {self.expires_at:%Y-%m-%d %H:%M} UTC"
            )


@dataclass(slots=True)
class _Used:
    state: KeyState
    read_at_s: float
    bucket: Bucket
    taken: int = 0
    """Requests since the last settlement began."""
    settling: int = 0
    """Requests whose settlement is under way."""
    ahead: bool = False
    """Whether the row is of a clock that was set back since: the next settlement writes it anew."""


@dataclass(slots=True)
class KeyUse:
    """Keys in use, by the hash of their secret; safe to call from several threads.

    Only keys that the database knows are held, and each until a settlement finds it unused.
    """

    limit: RateLimit
    now: Callable[[], datetime]
    _keys: dict[str, _Used] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def take_known(self, sha256: str) -> Caller | None:
        """Admit one request if the database was asked about the key a moment ago.

        Raises:
            InvalidKey, TooManyRequests: as `take`.
        """
        with self._lock:
            used = self._keys.get(sha256)
            if used is None or not 0 <= self.now().timestamp() - used.read_at_s < FRESH_S:
                return None
            return self._take(used)

    def take(self, sha256: str, state: KeyState) -> Caller:
        """Admit one request of a key, with what the database says of it now.

        Raises:
            InvalidKey: if the key is revoked or expired.
            TooManyRequests: if its bucket is empty.
        """
        with self._lock:
            used = self._keys.get(sha256)
            if used is None:
                used = self._keys[sha256] = _Used(state, 0.0, state.bucket)
            used.state, used.read_at_s = state, self.now().timestamp()
            used.ahead = is_ahead(state.bucket, used.read_at_s)
            unsettled = used.taken or used.settling
            if not unsettled and state.bucket.at_s >= used.bucket.at_s:
                used.bucket = state.bucket  # what other processes took is in it
            return self._take(used)

    def _take(self, used: _Used) -> Caller:
        now = self.now()
        used.state.check(now)
        caller = used.state.caller
        used.bucket = self.limit.at(used.bucket, now.timestamp())
        if used.bucket.tokens < 1:
            raise self.limit.exceeded(str(caller.key_id), used.bucket.tokens)
        used.bucket = Bucket(used.bucket.tokens - 1, used.bucket.at_s)
        used.taken += 1
        return caller

    def begin_settlement(self) -> dict[str, tuple[Bucket, int]]:
        """By key, what is left to this process and what it took; unused keys are forgotten."""
        with self._lock:
            self._keys = {
                k: used
                for k, used in self._keys.items()
                if used.taken or used.settling or used.ahead
            }
            for used in self._keys.values():
                used.taken, used.settling, used.ahead = 0, used.settling + used.taken, False
            return {key: (used.bucket, used.settling) for key, used in self._keys.items()}

    def end_settlement(self, settled: Mapping[str, Bucket]) -> None:
        """Go on from the buckets that the database holds now.

        A settlement that fails has no end: the next one takes its counts along.
        """
        with self._lock:
            for sha256, used in list(self._keys.items()):
                if not used.settling:
                    continue  # first used since this settlement began
                if sha256 not in settled:  # somebody deleted the row
                    del self._keys[sha256]
                    continue
                shared = self.limit.refilled(settled[sha256], used.bucket.at_s)
                tokens = min(used.bucket.tokens, shared.tokens - used.taken)
                used.settling, used.bucket = 0, Bucket(tokens, shared.at_s)

    def forget(self, sha256: str) -> None:
        """Ask the database at the next request of a key."""
        with self._lock:
            if (used := self._keys.get(sha256)) is not None:
                used.read_at_s = float("-inf")

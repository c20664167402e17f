"""Rate limits: a token bucket for each API key.

The bucket lies in the key's own row, so that it is that of all API processes together. Each process
admits requests by a copy of its own, and brings what it took to the row now and then
(`key_use`). So together they keep to the rate in the long run, while at one moment each may admit
what the bucket held when it last looked; what was taken too much is owed, and earned back first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.contracts import TooManyRequests

AHEAD_S = 5.0
"""How far the clocks of several machines may differ. A bucket further in the future is of a clock
that was set back since, and would earn nothing until that moment comes again."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens, as of a moment."""

    tokens: float
    """Requests that may be made at once; less than zero where they are owed."""
    at_s: float
    """Unix time, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests one key may make."""

    rate_per_s: float
    """Requests a second in the long run: tokens that are added to the bucket each second."""
    burst: int
    """Requests at once after a pause: tokens that a full bucket holds."""

    def at(self, bucket: Bucket, now_s: float) -> Bucket:
        """A bucket refilled until `now_s`, the present by this machine's clock."""
        return self.refilled(_not_ahead(bucket, now_s), now_s)

    def refilled(self, bucket: Bucket, until_s: float) -> Bucket:
        """A bucket refilled until some moment; time never runs backwards here, since the clocks of
        several machines may differ."""
        until_s = max(until_s, bucket.at_s)
        earned = self.rate_per_s * (until_s - bucket.at_s)
        return Bucket(min(float(self.burst), bucket.tokens + earned), until_s)

    def settled(self, shared: Bucket, own: Bucket, taken: int, now_s: float) -> Bucket:
        """The shared bucket after a process took `taken` tokens, which left `own` to it.

        The process took them over a while, in which tokens were earned: those are counted before
        the bucket's size is.
        """
        shared, own = _not_ahead(shared, now_s), _not_ahead(own, now_s)
        own = self.refilled(own, shared.at_s)
        earned = self.rate_per_s * (own.at_s - shared.at_s)
        return Bucket(min(own.tokens, shared.tokens + earned - taken), own.at_s)

    def exceeded(self, key_id: str, tokens: float) -> TooManyRequests:
        """The refusal of a key whose bucket holds `tokens`, less than one."""
        wait_s = max(1, math.ceil((1 - tokens) / self.rate_per_s))
        return TooManyRequests(
            f"API key {key_id} may make {self.rate_per_s:g} requests a second, {self.burst} at "
            f"once: ask again in {wait_s} s",
            wait_s,
        )


def is_ahead(bucket: Bucket, now_s: float) -> bool:
    """Whether a bucket is of a clock that was set back since."""
    return bucket.at_s > now_s + AHEAD_S


def _not_ahead(bucket: Bucket, now_s: float) -> Bucket:
    return Bucket(bucket.tokens, now_s) if is_ahead(bucket, now_s) else bucket

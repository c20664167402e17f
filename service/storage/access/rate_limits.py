"""Rate limits: a token bucket for each API key, held in the key's own row.

All API processes share one database, so the limit holds for them together. Taking a token is part
of the statement that admits the key (`KeyStore.admit`); this module has the arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case

from service.contracts import TooManyRequests
from service.storage.tables import ApiKeyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests one key may make."""

    rate_per_s: float
    """Requests a second in the long run: tokens that are added to the bucket each second."""
    burst: int
    """Requests at once after a pause: tokens that a full bucket holds."""

    def tokens_at(self, now: datetime) -> Any:
        """SQL expression: tokens in a row's bucket at `now`.

        The clocks of several machines may differ, so time never runs backwards here.
        """
        elapsed_s = now.timestamp() - ApiKeyRow.tokens_at_s
        tokens = ApiKeyRow.tokens + self.rate_per_s * case((elapsed_s > 0, elapsed_s), else_=0.0)
        return case((tokens < self.burst, tokens), else_=float(self.burst))

    def exceeded(self, key_id: str, tokens: float) -> TooManyRequests:
        """The refusal of a key whose bucket holds `tokens`, less than one."""
        wait_s = max(1, math.ceil((1 - tokens) / self.rate_per_s))
        return TooManyRequests(
            f"API key {key_id} may make {self.rate_per_s:g} requests a second, {self.burst} at "
            f"once: ask again in {wait_s} s",
            wait_s,
        )

"""Signatures of webhooks: HMAC-SHA256 of the time and the body, under a secret of the operator's.

The time is signed too, so that a recorded webhook cannot be sent again later.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from typing import Any

from models.errors import InputError

HEADER = "Subnet-Search-Signature"
TOLERANCE_S = 300.0


class BadSignature(InputError):
    """A webhook that is not from the service, was altered, or is too old."""


def sign(body: bytes, secret: str, at_s: int) -> str:
    """The header's value `t=UNIX,v1=HEX` for a body sent at `at_s`, seconds of Unix time."""
    return f"t={at_s},v1={_hex(body, secret, at_s)}"


def verify_webhook(
    body: bytes,
    signature: str,
    secret: str,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> dict[str, Any]:
    """What a webhook says, once its signature holds.

    Args:
        body: the bytes that arrived, before anything parsed them.
        signature: the header `Subnet-Search-Signature`.
        secret: the service's SUBNET_WEBHOOK_SECRET.
        tolerance_s: how far its time may be from ours.
        now_s: Unix time; default: now.

    Raises:
        BadSignature: if it does not hold.
    """
    match = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", signature)
    if match is None:
        raise BadSignature(f"{HEADER}: expected t=UNIX,v1=HEX, got {signature[:100]!r}")
    at_s = int(match[1])
    if not hmac.compare_digest(match[2], _hex(body, secret, at_s)):
        raise BadSignature(f"{HEADER}: does not match body and secret")
    if abs((time.time() if now_s is None else now_s) - at_s) > tolerance_s:
        raise BadSignature(f"{HEADER}: expected a time within {tolerance_s:g} s of now, got {at_s}")
    said: dict[str, Any] = json.loads(body)
    return said


def _hex(body: bytes, secret: str, at_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()

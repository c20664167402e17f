"""Send webhooks, one attempt at a time: what failed is enqueued again, later and later.

An attempt that breaks off is made again by another worker, so that each arrives at least once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from ssl import SSLContext
from typing import Protocol, TypeVar

import httpx
import structlog

from models.errors import InputError
from service.contracts import HEADER, sign
from service.settings import Settings
from service.storage import WebhookStore, check_webhook

ATTEMPTS = 8
PAUSE_S, LONGEST_PAUSE_S = 1.0, 3600.0
"""The first pause, and the longest; each is four times the one before: 1.5 hours in all."""
TIME_LIMIT_S = 10.0
"""Of one attempt, from the look-up of the host to the answer's status."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Patiently(Protocol):
    """Asks the database, and waits for it if it is gone."""

    def __call__(self, ask: Callable[[], T], /) -> T: ...


class Courier:
    """Sends webhooks; safe to share between threads."""

    def __init__(self, store: WebhookStore, settings: Settings) -> None:
        self.store, self.settings = store, settings

    def send(self, webhook_id: str, attempt: int, patiently: Patiently) -> str:
        """Make one attempt; returns what became of it."""
        webhook = patiently(lambda: self.store.take(webhook_id, attempt))
        if webhook is None:
            return "dropped"
        say = log.bind(webhook=webhook_id, attempt=attempt + 1)
        try:
            check_webhook(webhook.url, self.settings)
        except InputError as error:  # the settings changed since
            reason = str(error)
            patiently(lambda: self.store.failed(webhook, reason))
            say.warning("webhook_refused")
            return "failed"
        fault = asyncio.run(self._post(webhook.url, webhook.body.encode()))
        if fault is None:
            patiently(lambda: self.store.delivered(webhook))
            say.info("webhook_delivered")
            return "delivered"
        if attempt + 1 >= ATTEMPTS:
            patiently(lambda: self.store.failed(webhook, fault))
            say.error("webhook_given_up", fault=fault)
            return "failed"
        pause_s = min(PAUSE_S * 4**attempt, LONGEST_PAUSE_S)
        patiently(lambda: self.store.again(webhook, fault, pause_s))
        say.warning("webhook_missed", fault=fault, again_in_s=pause_s)
        return "missed"

    async def _post(self, url: str, body: bytes) -> str | None:
        """Post once, straight to the host; returns what went wrong, without the URL, which may
        hold what is secret."""
        assert self.settings.webhook_secret is not None
        secret = self.settings.webhook_secret.get_secret_value()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "subnet-search",
            HEADER: sign(body, secret, int(time.time())),
        }
        try:
            async with (
                asyncio.timeout(TIME_LIMIT_S),
                httpx.AsyncClient(
                    verify=self._tls, timeout=TIME_LIMIT_S, trust_env=False, follow_redirects=False
                ) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                # The answer's body is nobody's business, and may have no end.
                return None if answer.is_success else f"the receiver answered {answer.status_code}"
        except TimeoutError:
            return f"no answer within {TIME_LIMIT_S:g} s"
        except (httpx.HTTPError, OSError, ValueError) as error:
            return f"could not be sent: {type(error).__name__}"

    @cached_property
    def _tls(self) -> SSLContext:
        return httpx.create_ssl_context()

"""Send webhooks, one attempt at a time. After a failed attempt the next is enqueued with a growing
delay.

An attempt that is interrupted is repeated by another worker: a webhook arrives at least once.
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
PAUSE_S, MAX_PAUSE_S = 1.0, 3600.0
"""The first pause and the longest. Each is four times the one before: 1.5 hours in all."""
TIME_LIMIT_S = 10.0
"""Of one attempt, from resolving the host name to the status of the response."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class RetryOutages(Protocol):
    """Repeats a database call until the database answers."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


class WebhookSender:
    """Sends webhooks; safe to share between threads."""

    def __init__(self, store: WebhookStore, settings: Settings) -> None:
        self.store, self.settings = store, settings

    def send(self, webhook_id: str, attempt: int, retry_outages: RetryOutages) -> str:
        """Make one attempt; returns the outcome's name."""
        webhook = retry_outages(lambda: self.store.take(webhook_id, attempt))
        if webhook is None:
            return "dropped"
        bound_log = log.bind(webhook=webhook_id, attempt=attempt + 1)
        try:
            check_webhook(webhook.url, self.settings)
        except InputError as error:  # refused by settings that have changed
            reason = str(error)
            retry_outages(lambda: self.store.failed(webhook, reason))
            bound_log.warning("webhook_refused")
            return "failed"
        fault = asyncio.run(self._post(webhook.url, webhook.body.encode()))
        if fault is None:
            retry_outages(lambda: self.store.delivered(webhook))
            bound_log.info("webhook_delivered")
            return "delivered"
        if attempt + 1 >= ATTEMPTS:
            retry_outages(lambda: self.store.failed(webhook, fault))
            bound_log.error("webhook_given_up", fault=fault)
            return "failed"
        pause_s = min(PAUSE_S * 4**attempt, MAX_PAUSE_S)
        retry_outages(lambda: self.store.again(webhook, fault, pause_s))
        bound_log.warning("webhook_missed", fault=fault, again_in_s=pause_s)
        return "missed"

    async def _post(self, url: str, body: bytes) -> str | None:
        """Post once, without a proxy; returns what went wrong, without the URL, which may hold a
        secret."""
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
                client.stream("POST", url, content=body, headers=headers) as response,
            ):
                # The body is not read: it is not needed and may have no end.
                status = response.status_code
                return None if response.is_success else f"the receiver answered {status}"
        except TimeoutError:
            return f"no answer within {TIME_LIMIT_S:g} s"
        except (httpx.HTTPError, OSError, ValueError) as error:
            return f"could not be sent: {type(error).__name__}"

    @cached_property
    def _tls(self) -> SSLContext:
        return httpx.create_ssl_context()

"""Webhooks: who is to be told of a search's end, from the request to the last attempt.

States: waiting (for the end) -> queued (to be sent) -> delivered | failed. What is sent is fixed
when the search ends, in the same transaction, and `service.jobs.webhook_sender` sends it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import httpx
from sqlalchemy import Engine, Select, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.errors import InputError
from service.contracts import Search, normal_host
from service.settings import Settings
from service.storage.searches import read_search, row_of
from service.storage.sessions import unit_of_work, utc_now
from service.storage.tables import SearchRow, WebhookRow

MAX_WAITING = 100
"""Different addresses that may wait for one search."""
MIN_SECRET = 16
RUN = "webhook."
"""What DBOS's names of attempts begin with, and those of searches do not."""
PORTS = {"http": 80, "https": 443}

EnqueueWebhook = Callable[[Session, str, int, float], None]
"""(session, id, attempt, delay in seconds): has it sent, if the transaction is committed."""


def check_webhook(url: str, settings: Settings) -> None:
    """Refuse an address that nothing is to be sent to.

    Raises:
        InputError: if the operator allows none, or not this one, or it is no http(s) URL.
    """
    secret, hosts = settings.webhook_secret, settings.allowed_webhook_hosts
    if not hosts or secret is None or len(secret.get_secret_value()) < MIN_SECRET:
        raise InputError(
            "webhook: this service sends none; its operator has to set SUBNET_WEBHOOK_HOSTS and "
            f"SUBNET_WEBHOOK_SECRET ({MIN_SECRET} characters or more)"
        )
    try:
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode(), parsed.port
        if port is None:  # 0 is stated, and refused
            port = PORTS.get(parsed.scheme)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        host, port = "", None
    if port is None or not 0 < port < 2**16 or not host or parsed.userinfo or parsed.fragment:
        raise InputError(
            "webhook: expected an http or https URL without user, password and fragment, such as "
            f"https://hooks.example.com/searches, got {url[:80]!r}"
        )
    host = normal_host(host)
    if (host, None) not in hosts and (host, port) not in hosts:
        raise InputError(
            f"webhook: host {host}:{port} is not among those that the operator of this service "
            "allows (SUBNET_WEBHOOK_HOSTS)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One that is to be sent, as it was when it was read."""

    id: str
    url: str
    body: str
    attempts: int
    """Those that have failed."""

    @property
    def workflow_id(self) -> str:
        """What DBOS calls the next attempt."""
        return webhook_run(self.id, self.attempts)


def webhook_run(webhook_id: str, attempt: int) -> str:
    """What DBOS calls an attempt to send a webhook."""
    return f"{RUN}{webhook_id}.{attempt}"


class WebhookStore:
    """Webhooks in a database whose schema is current."""

    def __init__(
        self, engine: Engine, enqueue: EnqueueWebhook, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine, self._enqueue, self._now = engine, enqueue, now

    def register(
        self, session: Session, search_id: str, url: str, *, repeated: bool = False
    ) -> None:
        """Have `url` told of the end of a search: when it ends, or now if it has.

        Args:
            repeated: whether the request is a repetition of one that was answered before, whose
                webhook counts for both.

        Raises:
            NotFound: if there is no such search.
            InputError: if too many wait for this search.
        """
        # Whoever ends the search holds its row as well: it ends before this or after. A change that
        # changes nothing holds it on either database: SQLite knows no FOR UPDATE, and PostgreSQL's
        # waits for every other request that stored a reference to the search.
        hold = update(SearchRow).where(SearchRow.id == search_id).values(status=SearchRow.status)
        session.execute(hold.execution_options(synchronize_session=False))
        search = read_search(row_of(session, search_id))
        known = select(WebhookRow.id).where(
            WebhookRow.search_id == search_id, WebhookRow.url == url
        )
        if repeated and session.scalar(known.limit(1)) is not None:
            return
        waiting = set(session.scalars(self._waiting(search_id, WebhookRow.url)))
        if url in waiting and not search.finished:
            return
        if len(waiting) >= MAX_WAITING:
            raise InputError(f"webhook: {MAX_WAITING} wait for this search: poll it instead")
        session.add(
            WebhookRow(
                id=uuid.uuid4().hex,
                search_id=search_id,
                url=url,
                status="waiting",
                attempts=0,
                created_at=self._now(),
            )
        )
        session.flush()
        if search.finished:
            self.ended(session, search)

    def ended(self, session: Session, search: Search) -> None:
        """Have all that wait for a search sent, in the transaction that ends it."""
        for webhook_id in session.scalars(self._waiting(search.id, WebhookRow.id)).all():
            session.execute(
                update(WebhookRow)
                .where(WebhookRow.id == webhook_id)
                .values(status="queued", body=body_of(search))
            )
            self._enqueue(session, webhook_id, 0, 0.0)

    @staticmethod
    def _waiting(search_id: str, column: InstrumentedAttribute[str]) -> Select[str]:
        return select(column).where(
            WebhookRow.search_id == search_id, WebhookRow.status == "waiting"
        )

    def take(self, webhook_id: str, attempt: int) -> Webhook | None:
        """A webhook to be sent; None if it was, was given up, or this attempt was made."""
        with unit_of_work(self._engine) as session:
            row = session.get(WebhookRow, webhook_id)
            if row is None or row.status != "queued" or row.attempts != attempt:
                return None
            return _read(row)

    def delivered(self, webhook: Webhook) -> bool:
        """Note that it arrived; false if that is known."""
        return self._change(webhook, status="delivered", ended_at=self._now(), error=None)

    def failed(self, webhook: Webhook, error: str) -> bool:
        """Give up."""
        return self._change(webhook, status="failed", ended_at=self._now(), error=error[:300])

    def again(self, webhook: Webhook, error: str | None, delay_s: float) -> bool:
        """Have it sent once more after a while; false if somebody else saw to it."""
        return self._change(webhook, error=error and error[:300], delay_s=delay_s)

    def _change(self, webhook: Webhook, delay_s: float | None = None, **values: object) -> bool:
        attempts = webhook.attempts + 1
        same = (
            update(WebhookRow)
            .where(
                WebhookRow.id == webhook.id,
                WebhookRow.status == "queued",
                WebhookRow.attempts == webhook.attempts,
            )
            .values(attempts=attempts, **values)
            .returning(WebhookRow.id)
            .execution_options(synchronize_session=False)
        )
        with unit_of_work(self._engine) as session:
            changed = session.scalar(same) is not None
            if changed and delay_s is not None:
                self._enqueue(session, webhook.id, attempts, delay_s)
            return changed

    def undelivered(self, limit: int) -> list[Webhook]:
        """Those that are to be sent, oldest first."""
        query = (
            select(WebhookRow)
            .where(WebhookRow.status == "queued")
            .order_by(WebhookRow.created_at)
            .limit(limit)
        )
        with unit_of_work(self._engine) as session:
            return [_read(row) for row in session.scalars(query)]

    def counts(self) -> dict[str, int]:
        """Number of webhooks by status, without those that have none."""
        query = select(WebhookRow.status, func.count()).group_by(WebhookRow.status)
        with unit_of_work(self._engine) as session:
            return {status: count for status, count in session.execute(query)}


def body_of(search: Search) -> str:
    """What is sent of a search that ended: names and links, to be fetched with the asker's key."""
    assert search.finished_at is not None
    address = f"/v1/searches/{search.id}"
    links = {"search": address}
    if search.artifact_sha256 is not None:
        links["model"] = f"{address}/model.onnx"
    said = {
        "id": search.id,
        "status": search.status,
        "supernet": search.request["supernet"],
        "device": search.request["device"],
        "finished_at": search.finished_at.isoformat(),
        "sha256": search.artifact_sha256,
        "error": search.error,
        "links": links,
    }
    return json.dumps(said, allow_nan=False)


def _read(row: WebhookRow) -> Webhook:
    assert row.body is not None
    return Webhook(id=row.id, url=row.url, body=row.body, attempts=row.attempts)

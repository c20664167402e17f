"""A request is stored whole or not at all: the search, its run, its owner, its webhook, its key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.orm import Session

from models.errors import InputError
from service.contracts import Caller
from service.contracts.searches import SearchRequest
from service.jobs.queue import Durable
from service.jobs.submission import submit
from service.storage.database import open_database
from service.storage.searches import SearchStore
from service.storage.tables import (
    EventRow,
    IdempotencyRow,
    ProfileRow,
    SearchOwnerRow,
    SearchRow,
    WebhookRow,
)
from service.storage.webhooks import WebhookStore
from tests.processes import PATIENCE_S
from tests.service.conftest import DEVICE, SUPERNET, catalog_of

ANN = Caller(owner="ann", scope="search", key_id="k")
URL = "http://hooks.example/1"
ASKED = {
    "supernet": SUPERNET,
    "device": DEVICE,
    "constraints": {"latency_ms": 0.8},
    "webhook": URL,
}
ROWS = (ProfileRow, SearchRow, EventRow, SearchOwnerRow, WebhookRow, IdempotencyRow)


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def catalog(template):
    return catalog_of(template)


@pytest.fixture
def durable(engine):
    return Durable(engine)


@pytest.fixture
def webhooks(engine, durable):
    return WebhookStore(engine, durable.enqueue_webhook)


@pytest.fixture
def store(engine, durable, webhooks):
    return SearchStore(engine, enqueue=durable.enqueue, ended=webhooks.ended)


@pytest.fixture
def ask(store, webhooks, catalog):
    def ask(key=None, caller=ANN, **changes):
        request = SearchRequest.model_validate({**ASKED, **changes})
        return submit(store, catalog, request, key, caller, webhooks)

    return ask


def stored(engine):
    """Number of rows of each kind, and of runs in DBOS's queue."""
    workflows = "workflow_status" if engine.dialect.name == "sqlite" else "dbos.workflow_status"
    with Session(engine) as session:
        counts = [session.scalar(select(func.count()).select_from(row)) for row in ROWS]
        return [*counts, session.scalar(text(f"SELECT count(*) FROM {workflows}"))]


@pytest.mark.slow
def test_a_request_that_is_stopped_at_any_statement_leaves_nothing_and_is_repeated(engine, ask):
    statements, stop_at = 0, -1

    def stop(*_):
        nonlocal statements
        statements += 1
        if statements - 1 == stop_at:
            raise Stopped

    event.listen(engine, "before_cursor_execute", stop)
    event.listen(engine, "commit", lambda connection: stop())
    for stop_at in range(100):
        statements = 0
        try:
            search = ask("key")
        except Stopped:
            stop_at = -1
            assert stored(engine) == [0] * 7
        else:
            break
    assert stop_at > 10, "hardly any statement was stopped"
    stop_at = -1
    assert stored(engine) == [1] * 7
    assert ask("key").id == search.id
    assert ask().id == search.id
    assert stored(engine) == [1] * 7
    with Session(engine) as session:
        assert session.scalars(select(SearchOwnerRow.owner)).all() == ["ann"]


def test_a_webhook_that_is_refused_leaves_no_search(engine, ask, monkeypatch):
    monkeypatch.setattr("service.storage.webhooks.MAX_WAITING", 0)
    with pytest.raises(InputError, match="poll it instead"):
        ask()
    assert stored(engine) == [0] * 7


def test_a_repeated_key_registers_its_webhook_once_also_after_the_end(engine, ask, store):
    search = ask("key")
    store.cancel(search.id)
    assert ask("key").id == search.id
    ask("key", webhook="http://hooks.example/2")
    with Session(engine) as session:
        rows = session.execute(select(WebhookRow.url, WebhookRow.status).order_by(WebhookRow.url))
        assert [tuple(row) for row in rows] == [(URL, "queued"), (f"{URL[:-1]}2", "queued")]


def test_a_key_of_another_request_is_refused_also_when_both_come_at_once(engine, ask):
    def try_to(seed):
        try:
            return ask("key", seed=seed).request["seed"]
        except InputError:
            return None

    with ThreadPoolExecutor(4) as pool:
        seeds = list(pool.map(try_to, range(4)))
    (accepted,) = [seed for seed in seeds if seed is not None]
    assert ask("key", seed=accepted)
    with pytest.raises(InputError, match="was used for another request"):
        ask("key", seed=accepted + 1)
    assert stored(engine) == [1] * 7


def test_the_same_request_of_many_at_once_is_one_search_with_one_owner(engine, ask):
    with ThreadPoolExecutor(6) as pool:
        searches = list(pool.map(lambda n: ask(webhook=f"http://h.example/{n % 2}"), range(6)))
    assert len({search.id for search in searches}) == 1
    assert stored(engine)[1:5] == [1, 1, 1, 2]


@pytest.mark.postgres
def test_two_requests_that_both_refer_to_a_search_do_not_wait_for_each_other(
    migrated_postgres, postgres, catalog
):
    postgres.empty(migrated_postgres)
    engine = open_database(migrated_postgres)
    durable, both = Durable(engine), Barrier(2, timeout=PATIENCE_S)
    webhooks = WebhookStore(engine, durable.enqueue_webhook)
    store = SearchStore(engine, enqueue=durable.enqueue, ended=webhooks.ended)

    def ask(number, webhooks=webhooks):
        request = SearchRequest.model_validate({**ASKED, "webhook": f"{URL}{number}"})
        return submit(store, catalog, request, f"key {number}", ANN, webhooks).id

    class Together:
        def register(self, *args, **names):
            both.wait()  # each has stored its key, which refers to the search
            webhooks.register(*args, **names)

    search_id = ask(0)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda n: ask(n, Together()), (1, 2))) == [search_id] * 2
    assert webhooks.counts() == {"waiting": 3}
    engine.dispose()

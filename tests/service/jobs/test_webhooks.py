"""Webhooks arrive, signed, at hosts that the operator allows; a real receiver counts them."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from models.errors import InputError
from service.catalog.catalog import open_catalog
from service.client.client import verify_webhook
from service.contracts.webhook_signature import BadSignature, sign
from service.jobs.queue import Durable
from service.jobs.recovery import WorkerRecovery
from service.settings import Settings
from service.storage import ExecutorStore
from service.storage.database import open_database
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from service.storage.sessions import unit_of_work
from service.storage.tables import WebhookRow
from service.storage.webhooks import MAX_WAITING, WebhookStore, check_webhook
from tests.processes import PATIENCE_S
from tests.service.conftest import DEVICE, SUPERNET, busy_on, client_on, make_table
from tests.service.stored import PROBLEM, RESULT, new

SECRET = "a secret of some length"
WAIT = {"Prefer": "wait=30"}


class Receiver:
    """An HTTP server of this machine that answers with the statuses it was given, then 204."""

    def __init__(self):
        self.statuses: list[int] = []
        self.arrived: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.arrived.append((self.path, self.headers["Subnet-Search-Signature"], body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"

    def url(self, path="/hook"):
        return f"http://{self.host}{path}"


@pytest.fixture
def receiver():
    receiver = Receiver()
    thread = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


@pytest.fixture
def allowing(settings, receiver, database_url):
    """Settings that allow the receiver, on a database of each kind that knows the device."""
    allowing = Settings(
        **settings.model_dump(exclude={"database_url", "webhook_hosts", "webhook_secret"}),
        database_url=database_url,
        webhook_hosts=receiver.host,
        webhook_secret=SecretStr(SECRET),
    )
    open_catalog(allowing).devices.add(make_table())
    return allowing


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    monkeypatch.setattr("service.jobs.webhook_sender.PAUSE_S", 0.02)
    monkeypatch.setattr("service.jobs.webhook_sender.MAX_PAUSE_S", 0.05)
    monkeypatch.setattr("service.jobs.queue.WEBHOOK_POLL_S", 0.05)


def body(url, latency_ms=0.8, **changes):
    constraints = {"latency_ms": latency_ms}
    asked = {"supernet": SUPERNET, "device": DEVICE, "constraints": constraints, **changes}
    return {**asked, "webhook": url}


@pytest.fixture
def rows(allowing):
    """Tells status, attempts and error of every stored webhook."""
    engine = open_database(allowing.database)

    def read():
        with unit_of_work(engine) as session:
            found = session.scalars(select(WebhookRow)).all()
            return [(row.status, row.attempts, row.error) for row in found]

    yield read
    engine.dispose()


async def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await anyio.sleep(0.02)


@pytest.mark.anyio
@pytest.mark.slow
async def test_told_once_with_the_right_signature_also_after_the_fact(allowing, receiver, rows):
    async with busy_on(allowing) as client:
        answer = await client.post("/v1/searches", json=body(receiver.url("/a")), headers=WAIT)
        assert answer.status_code == 201
        await until(lambda: [row[0] for row in rows()] == ["delivered"])
        ((path, signature, sent),) = receiver.arrived
        said = verify_webhook(sent, signature, SECRET)
        search = answer.json()
        assert (path, said["id"], said["status"]) == ("/a", search["id"], "succeeded")
        assert said["sha256"] == search["result"]["sha256"]
        assert said["links"]["search"] == answer.headers["Location"]
        assert (await client.get(said["links"]["model"])).status_code == 200
        # The same question of somebody else: the same search, finished, and told all the same.
        late = await client.post("/v1/searches", json=body(receiver.url("/b")))
        assert (late.status_code, late.json()["id"]) == (201, search["id"])
        await until(lambda: [row[0] for row in rows()] == ["delivered"] * 2)
    assert [path for path, *_ in receiver.arrived] == ["/a", "/b"]


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_receiver_that_fails_twice_is_tried_again(allowing, receiver, rows):
    receiver.statuses = [500, 302]
    async with busy_on(allowing) as client:
        await client.post("/v1/searches", json=body(receiver.url()))
        await until(lambda: rows() == [("delivered", 3, None)])
    assert [path for path, *_ in receiver.arrived] == ["/hook"] * 3, "no redirect is followed"
    assert len({sent for *_, sent in receiver.arrived}) == 1


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_receiver_that_never_works_is_given_up(allowing, receiver, monkeypatch, rows):
    monkeypatch.setattr("service.jobs.webhook_sender.ATTEMPTS", 3)
    receiver.statuses = [503] * 9
    async with busy_on(allowing) as client:
        await client.post("/v1/searches", json=body(receiver.url()))
        await until(lambda: rows() == [("failed", 3, "the receiver answered 503")])
    assert len(receiver.arrived) == 3


@pytest.mark.slow
@pytest.mark.anyio
async def test_cancelled_is_an_end_too_and_is_sent_by_the_first_worker(allowing, receiver, rows):
    async with client_on(allowing) as client:  # no worker: it waits in the database
        asked = (await client.post("/v1/searches", json=body(receiver.url()))).json()
        await client.post("/v1/searches", json=body(receiver.url()))
        assert rows() == [("waiting", 0, None)], "asked twice, told once"
        await client.delete(f"/v1/searches/{asked['id']}")
        assert rows() == [("queued", 0, None)]
    async with busy_on(allowing):
        await until(lambda: receiver.arrived and rows()[0][0] == "delivered")
    assert json.loads(receiver.arrived[0][2])["status"] == "cancelled"


@pytest.mark.anyio
async def test_not_among_what_makes_requests_the_same(allowing, receiver, rows):
    key = {"Idempotency-Key": "mine"}
    async with client_on(allowing) as client:
        urls = [receiver.url(path) for path in ("/a", "/b")]
        answers = [await client.post("/v1/searches", json=body(url), headers=key) for url in urls]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert "webhook" not in answers[0].json()["request"]
    assert len(rows()) == 2


@pytest.mark.anyio
async def test_a_host_that_is_not_allowed_is_refused_and_nothing_queued(allowing, receiver):
    async with client_on(allowing) as client:
        answer = await client.post("/v1/searches", json=body("http://169.254.169.254/latest"))
        assert answer.status_code == 422
        assert "169.254.169.254:80 is not among" in answer.json()["detail"]
        assert (await client.get("/v1/searches")).json()["items"] == []


def test_where_webhooks_may_go():
    allowed = {"webhook_secret": SECRET, "webhook_hosts": "hooks.example.com, 10.0.0.7:8080,[::1]"}
    settings = Settings.model_validate(allowed)
    for url in (
        "https://hooks.example.com/a?b=c",
        "http://HOOKS.example.com:81/",
        "http://10.0.0.7:8080",
        "http://[::1]:9/",
    ):
        check_webhook(url, settings)
    for url in (
        "http://10.0.0.7/",
        "https://example.com/",
        "https://hooks.example.com.evil.com/",
        "https://hooks.example.com@evil.com/",
        "https://evil.com#hooks.example.com",
        "https://evil.com\\hooks.example.com",
        "http://user:word@hooks.example.com/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "hooks.example.com",
        "http://",
        "http://hooks.example.com:99999/",
        "http://\u2603\x01/",
    ):
        with pytest.raises(InputError, match="^webhook: "):
            check_webhook(url, settings)
    for missing in allowed:
        left = {name: value for name, value in allowed.items() if name != missing}
        less = Settings.model_validate(left)
        with pytest.raises(InputError, match="SUBNET_WEBHOOK_HOSTS and SUBNET_WEBHOOK_SECRET"):
            check_webhook("https://hooks.example.com/", less)
    for wrong in ("http://hooks.example.com", "a/b", "me@host", "host:port", "host:99999"):
        with pytest.raises(ValueError, match="webhook_hosts"):
            Settings(webhook_hosts=wrong)


def test_worker_processes_get_the_secret_itself():
    settings = Settings(webhook_secret=SecretStr(SECRET), webhook_hosts="a.example")
    assert settings.environment()["SUBNET_WEBHOOK_SECRET"] == SECRET
    assert SECRET not in repr(settings)


def test_a_signature_holds_for_its_body_secret_and_time_alone():
    content = b'{"id": "x"}'
    signature = sign(content, SECRET, 1000)
    # openssl dgst -sha256 -hmac "a secret of some length", of `1000.{"id": "x"}`
    assert signature == "t=1000,v1=23f4714e3e3cb0f35767a8caaaddb1eb9d93f7d968fcea106f2eff66ac44c654"
    assert verify_webhook(content, signature, SECRET, now_s=1299) == {"id": "x"}
    for wrong in (
        (content + b" ", signature, SECRET, 1000),
        (content, signature, SECRET + "!", 1000),
        (content, signature.replace("t=1000", "t=1001"), SECRET, 1000),
        (content, signature, SECRET, 1301),
        (content, signature, SECRET, 699),
        (content, signature.partition(",")[2], SECRET, 1000),
        (content, "", SECRET, 1000),
    ):
        with pytest.raises(BadSignature):
            verify_webhook(*wrong[:3], now_s=wrong[3])


@contextmanager
def opened(url):
    engine = open_database(url)
    durable = Durable(engine)
    webhooks = WebhookStore(engine, durable.enqueue_webhook)
    try:
        yield engine, durable, webhooks
    finally:
        engine.dispose()


def register(engine, webhooks, search, url, **names):
    with unit_of_work(engine) as session:
        webhooks.register(session, search.id, url, **names)


def test_on_either_database_it_is_queued_with_the_end(database_url):
    with opened(database_url) as (engine, durable, webhooks):
        store = SearchStore(engine, enqueue=durable.enqueue, ended=webhooks.ended)
        runs = RunStore(engine, enqueue=durable.enqueue, ended=webhooks.ended)
        failing, cancelled = store.submit(new(0)), store.submit(new(1))
        for search in (failing, cancelled):
            register(engine, webhooks, search, "http://a.example/")
            register(engine, webhooks, search, "http://b.example/")
            register(engine, webhooks, search, "http://b.example/")
        assert webhooks.counts() == {"waiting": 4}
        runs.start(failing.id, 1, "w")
        assert runs.fail(failing, "w", PROBLEM)
        assert webhooks.counts() == {"waiting": 2, "queued": 2}
        store.cancel(cancelled.id)
        store.cancel(cancelled.id)
        queued = webhooks.undelivered(10)
        assert len(queued) == 4
        ends = [json.loads(webhook.body) for webhook in queued]
        assert sorted(said["status"] for said in ends) == ["cancelled"] * 2 + ["failed"] * 2
        assert all(said["error"] == PROBLEM for said in ends if said["status"] == "failed")
        states = durable.states([webhook.workflow_id for webhook in queued])
        assert [state.status for state in states.values()] == ["ENQUEUED"] * 4
        # Asked again, it runs again, and who waits for this end hears of this one.
        again = store.submit(new(0))
        register(engine, webhooks, again, "http://a.example/")
        runs.start(again.id, again.run, "w")
        assert runs.succeed(again, "w", RESULT)
        assert json.loads(webhooks.undelivered(10)[-1].body)["status"] == "succeeded"


def test_an_attempt_counts_once_and_what_is_forgotten_is_started_anew(database_url):
    with opened(database_url) as (engine, durable, webhooks):
        store = SearchStore(engine, ended=webhooks.ended)
        search = store.submit(new())
        register(engine, webhooks, search, "http://a.example/")
        store.cancel(search.id)
        (webhook,) = webhooks.undelivered(10)
        assert webhooks.take(webhook.id, 0) == webhook
        assert webhooks.again(webhook, "no luck", 60.0)
        assert not webhooks.again(webhook, "no luck", 60.0), "another was quicker"
        assert not webhooks.delivered(webhook)
        assert webhooks.take(webhook.id, 0) is None
        (later,) = webhooks.undelivered(10)
        (state,) = durable.states([later.workflow_id]).values()
        assert state.status == "DELAYED"
        recovery = WorkerRecovery(
            "me", ExecutorStore(engine), RunStore(engine), durable, dead_after_s=1
        )
        durable._client.delete_workflows([later.workflow_id])
        recovery.sweep((), {later.workflow_id: lambda: webhooks.again(later, None, 0.0)})
        (anew,) = webhooks.undelivered(10)
        assert anew.attempts == 2
        (state,) = durable.states([anew.workflow_id]).values()
        assert (state.status, state.queue_name) == ("ENQUEUED", "webhooks")
        # Given back by a worker that died, it waits where it waited.
        durable.put_back([anew.workflow_id])
        (state,) = durable.states([anew.workflow_id]).values()
        assert (state.status, state.queue_name) == ("ENQUEUED", "webhooks")


@pytest.mark.slow
def test_so_many_wait_for_one_search(database_url):
    with opened(database_url) as (engine, _, webhooks):
        search = SearchStore(engine).submit(new())
        for n in range(MAX_WAITING):
            register(engine, webhooks, search, f"http://a.example/{n}")
        with pytest.raises(InputError, match="poll it"):
            register(engine, webhooks, search, "http://a.example/one-more")
        register(engine, webhooks, search, "http://a.example/0")
        assert webhooks.counts() == {"waiting": MAX_WAITING}

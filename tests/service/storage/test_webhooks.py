"""Webhooks as rows: when they are queued, with what, and in which order, on both databases."""

from __future__ import annotations

import json
from threading import Thread

import pytest

from models.errors import InputError
from service.settings import Settings
from service.storage.runs import RunStore
from service.storage.webhooks import WebhookStore, check_webhook
from tests.service.stored import RESULT, START, new, register, succeed

URL = "http://a.example/"


@pytest.fixture
def enqueued():
    """(attempt, delay in seconds) of everything that was enqueued."""
    return []


@pytest.fixture
def webhooks(stored, clock, enqueued):
    def enqueue(session, webhook_id, attempt, delay_s):
        enqueued.append((attempt, delay_s))

    webhooks = WebhookStore(stored._engine, enqueue, clock)
    stored._ended = webhooks.ended
    return webhooks


def test_of_a_search_that_has_ended_it_is_sent_at_once(stored, webhooks, enqueued):
    search_id = succeed(stored, 0, 1.5, 90.0)
    register(webhooks, search_id, URL)
    (webhook,) = webhooks.undelivered(10)
    assert (webhook.url, webhook.attempts, enqueued) == (URL, 0, [(0, 0.0)])
    assert json.loads(webhook.body) == {
        "id": search_id,
        "status": "succeeded",
        "supernet": "net",
        "device": "phone",
        "finished_at": START.isoformat(),
        "sha256": RESULT["sha256"],
        "error": None,
        "links": {
            "search": f"/v1/searches/{search_id}",
            "model": f"/v1/searches/{search_id}/model.onnx",
        },
    }
    register(webhooks, search_id, URL)
    assert webhooks.counts() == {"queued": 2}, "asked again after the end: told again"


def test_what_waits_is_sent_when_the_search_ends_and_only_of_that_search(
    stored, webhooks, enqueued
):
    first, second = stored.submit(new(0)), stored.submit(new(1))
    for search in (first, second):
        register(webhooks, search.id, URL)
    assert (webhooks.counts(), enqueued) == ({"waiting": 2}, [])
    stored.cancel(first.id)
    assert (webhooks.counts(), enqueued) == ({"waiting": 1, "queued": 1}, [(0, 0.0)])
    (webhook,) = webhooks.undelivered(10)
    said = json.loads(webhook.body)
    assert (said["id"], said["status"], said["sha256"]) == (first.id, "cancelled", None)
    assert said["links"] == {"search": f"/v1/searches/{first.id}"}, "there is no model"


def test_one_that_is_registered_while_its_search_ends_is_sent(stored, webhooks, clock):
    search = stored.submit(new())
    end = Thread(target=stored.cancel, args=(search.id,))

    def between_reading_and_writing():
        end.start()
        end.join(0.2)  # it ends now, or waits for the search's row
        return clock()

    webhooks._now = between_reading_and_writing
    register(webhooks, search.id, URL)
    end.join()
    assert webhooks.counts() == {"queued": 1}


def test_the_undelivered_are_told_oldest_first_and_no_more_than_asked_for(stored, webhooks, clock):
    for seed in range(3):
        register(webhooks, succeed(stored, seed, 1.0, 90.0), f"{URL}{seed}")
        clock.advance(1)
    assert [webhook.url for webhook in webhooks.undelivered(2)] == [f"{URL}0", f"{URL}1"]


def test_an_attempt_that_failed_is_made_again_and_given_up_in_the_end(stored, webhooks, enqueued):
    register(webhooks, succeed(stored, 0, 1.0, 90.0), URL)
    (webhook,) = webhooks.undelivered(1)
    assert webhooks.take(webhook.id, 1) is None
    assert webhooks.take("another", 0) is None
    assert webhooks.again(webhook, "x" * 400, 7.5)
    assert enqueued == [(0, 0.0), (1, 7.5)]
    (later,) = webhooks.undelivered(1)
    assert (later.id, later.attempts, later.workflow_id) == (webhook.id, 1, f"webhook.{later.id}.1")
    assert webhooks.failed(later, "y" * 400)
    assert not webhooks.failed(later, "again")
    assert webhooks.counts() == {"failed": 1}
    assert webhooks.undelivered(1) == []
    assert webhooks.take(webhook.id, 2) is None
    assert len(enqueued) == 2, "what is given up is not enqueued"
    with stored.session_scope() as session:
        query = "SELECT attempts, error FROM webhooks"
        assert session.connection().exec_driver_sql(query).one() == (2, "y" * 300)


def test_what_arrived_is_sent_no_more(stored, webhooks, enqueued):
    register(webhooks, succeed(stored, 0, 1.0, 90.0), URL)
    (webhook,) = webhooks.undelivered(1)
    assert webhooks.delivered(webhook)
    assert not webhooks.delivered(webhook)
    assert not webhooks.again(webhook, None, 0.0)
    assert (webhooks.counts(), len(enqueued)) == ({"delivered": 1}, 1)


def test_an_end_without_webhooks_is_just_that(stored, webhooks, clock, enqueued):
    search = stored.submit(new())
    runs = RunStore(stored._engine, clock, ended=webhooks.ended)
    runs.start(search.id, 1, "w")
    assert runs.succeed(search, "w", RESULT)
    assert (webhooks.counts(), enqueued) == ({}, [])


@pytest.mark.parametrize(("length", "allowed"), [(15, False), (16, True)])
def test_a_secret_has_sixteen_characters(length, allowed):
    settings = Settings.model_validate(
        {"webhook_secret": "s" * length, "webhook_hosts": "a.example"}
    )
    if allowed:
        check_webhook(URL, settings)
    else:
        with pytest.raises(InputError, match="16 characters or more"):
            check_webhook(URL, settings)


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        ("a.example:443", "https://a.example/", True),
        ("a.example:443", "http://a.example/", False),
        ("a.example:80", "http://a.example/", True),
        ("a.example:80", "http://a.example:81/", False),
        ("a.example:65535", "http://a.example:65535/", True),
        ("a.example", "http://a.example:1/", True),
        ("a.example", "http://a.example:0/", False),
    ],
)
def test_a_port_that_is_not_said_is_that_of_the_scheme(hosts, url, allowed):
    settings = Settings.model_validate({"webhook_secret": "s" * 16, "webhook_hosts": hosts})
    if allowed:
        check_webhook(url, settings)
    else:
        with pytest.raises(InputError, match="^webhook: "):
            check_webhook(url, settings)

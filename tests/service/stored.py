"""Searches for tests of the store, and a clock that stands until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from service.contracts.records import NewSearch
from service.jobs.submission import sha256_of
from service.storage.runs import RunStore
from service.storage.sessions import unit_of_work

START = datetime(2025, 1, 1, tzinfo=UTC)
RESULT = {"latency_ms": 1.5, "top1": 90.0, "sha256": "a" * 64}
PROBLEM = {"title": "Infeasible", "status": 422}


class ManualClock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


def new(seed=0, device="phone", supernet="net"):
    request = {"seed": seed, "device": device, "supernet": supernet}
    return NewSearch(
        request=request,
        request_sha256=sha256_of(request),
        supernet=supernet,
        device=device,
        profile_sha256=sha256_of({"device": device}),
        profile=f"table of {device}",
    )


def register(webhooks, search_id, url):
    with unit_of_work(webhooks._engine) as session:
        webhooks.register(session, search_id, url)


def succeed(store, seed, latency_ms, top1, **names):
    search = store.submit(new(seed, **names))
    runs = RunStore(store._engine, store._now)
    assert runs.start(search.id, search.run, "w") is not None
    result = {"latency_ms": latency_ms, "top1": top1, "sha256": "a" * 64}
    assert runs.succeed(search, "w", result)
    return search.id

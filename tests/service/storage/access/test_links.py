"""Links in both databases: claimed once, bounded, and gone when their time is over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import Conflict, NotFound
from service.contracts.access import LOCAL, Caller
from service.contracts.errors import Gone, TooManyRequests
from service.storage.access.links import KEPT_FOR, MAX_OPEN, OPEN_FOR, LinkStore
from service.storage.database import open_database

ANN = Caller(owner="ann", scope="search", key_id="abc")
REQUEST = {"purpose": "measure", "backends": ["wasm"], "device": None}


@pytest.fixture
def links(engine, clock):
    return LinkStore(engine, clock)


def test_from_open_to_succeeded(links, clock):
    made, code = links.add(REQUEST, ANN)
    assert (made.status, made.caller, made.request) == ("open", ANN, REQUEST)
    assert links.find_by_code(code) == links.get(made.id) == made
    opened, secret = links.claim(made, {**REQUEST, "device": "x"})
    assert (opened.status, opened.request["device"]) == ("opened", "x")
    assert opened.expires_at == clock.now + OPEN_FOR
    assert links.of_session(secret) == opened
    links.report(opened, {"share": 0.1})
    links.report(opened, {"share": 0.2})  # too soon
    assert links.get(made.id).progress["share"] == 0.1
    clock.advance(1)
    links.report(opened, {"share": 0.3})
    running = links.get(made.id)
    assert (running.status, running.progress["share"]) == ("running", 0.3)
    done = links.record(opened, "wasm", {"stored": "x"}, last=False)
    assert (done.status, done.finished_at) == ("succeeded", clock.now)
    with pytest.raises(Gone):
        links.record(opened, "webgpu", {"stored": "y"}, last=False)
    with pytest.raises(Conflict):
        links.cancel(made.id)
    for unknown in (links.get, links.cancel, links.find_by_code, links.of_session):
        with pytest.raises(NotFound):
            unknown("nobodys")


def test_one_of_many_claims_wins(database_url, clock):
    """In connections of their own, at the same time."""
    engines = [open_database(database_url) for _ in range(4)]
    stores = [LinkStore(engine, clock) for engine in engines]
    made, _ = stores[0].add(REQUEST, LOCAL)

    def claim(store):
        try:
            return store.claim(made, REQUEST)[1]
        except Gone as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(claim, stores))
    assert sum(isinstance(one, str) for one in found) == 1, found
    for engine in engines:
        engine.dispose()


def test_time_is_over(links, clock):
    made, code = links.add(REQUEST, LOCAL)
    clock.advance(OPEN_FOR.total_seconds())
    assert links.get(made.id).status == "expired"
    with pytest.raises(Gone, match="expired"):
        links.claim(links.find_by_code(code), REQUEST)
    made, _ = links.add(REQUEST, LOCAL)
    opened, secret = links.claim(made, REQUEST)
    clock.advance(OPEN_FOR.total_seconds())
    assert links.of_session(secret).status == "expired"
    links.add(REQUEST, LOCAL)
    with pytest.raises(Gone):
        links.record(opened, "wasm", {}, last=True)
    clock.advance(KEPT_FOR.total_seconds())
    links.add(REQUEST, LOCAL)
    with pytest.raises(NotFound):
        links.get(made.id)


def test_each_caller_has_so_many(links, clock):
    for _ in range(MAX_OPEN):
        links.add(REQUEST, ANN)
    with pytest.raises(TooManyRequests):
        links.add(REQUEST, ANN)
    links.add(REQUEST, LOCAL)
    clock.advance(OPEN_FOR.total_seconds())
    links.add(REQUEST, ANN)


def test_names_in_use(links, clock):
    links.add({**REQUEST, "device": "anns"}, ANN)
    links.add({**REQUEST, "device": "mine"}, LOCAL)
    links.add(REQUEST, LOCAL)
    made, _ = links.add({**REQUEST, "device": "ended"}, LOCAL)
    links.cancel(made.id)
    assert links.names_in_use("ann") == {"anns"}
    assert links.names_in_use(None) == {"mine"}


def test_stopped_by_the_device(links):
    made, _ = links.add(REQUEST, LOCAL)
    opened, _ = links.claim(made, REQUEST)
    links.report(opened, {"share": 0.5})
    links.report(opened, {"share": 0.6}, "too hot")
    failed = links.get(made.id)
    assert (failed.status, failed.error) == ("failed", "too hot")

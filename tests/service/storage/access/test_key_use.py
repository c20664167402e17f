"""Requests with keys: admitted in memory, counted there, and settled in the database."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from service.contracts.access import Caller
from service.contracts.errors import InvalidKey, StoreUnavailable, TooManyRequests
from service.storage.access.api_keys import KeyStore
from service.storage.access.key_use import FRESH_S, KeyState, KeyUse
from service.storage.access.rate_limits import AHEAD_S, Bucket, RateLimit
from service.storage.database import open_database
from tests.service.conftest import client_on
from tests.service.stored import START, ManualClock

RATE_PER_S, BURST = 2.0, 5
LIMIT = RateLimit(rate_per_s=RATE_PER_S, burst=BURST)


@pytest.fixture
def stores(database_url, clock):
    """Two processes on one database."""
    engines = [open_database(database_url) for _ in range(2)]
    yield [KeyStore(e, rate_per_s=RATE_PER_S, burst=BURST, now=clock) for e in engines]
    for engine in engines:
        engine.dispose()


def admitted(store, secret, requests=1):
    """How many of some requests at once are admitted."""
    count = 0
    for _ in range(requests):
        try:
            count += (store.admit_known(secret) or store.admit(secret)) is not None
        except TooManyRequests:
            continue
    return count


def left(store, key):
    (found,) = (k for k in store.keys() if k.id == key.id)
    return found


# -- on either database --------------------------------------------------------------------------


@pytest.mark.slow
def test_use_is_settled_later_and_said_of_the_last_request(stores, clock):
    one, other = stores
    secret, key = one.create("ann", "read")
    clock.advance(60)
    assert admitted(one, secret, 3) == 3
    clock.advance(0.9)
    assert left(other, key).used_at == START, "nothing is written while a request waits"
    assert (one.settle(), one.settle()) == (1, 0)
    assert left(other, key).used_at == START + timedelta(seconds=60)
    assert admitted(other, secret, BURST) == BURST - 3 + int(0.9 * RATE_PER_S)


def test_processes_share_one_rate_in_the_long_run(stores, clock):
    one, other = stores
    secret, _ = one.create("ann", "read")
    assert admitted(one, secret, 9) == admitted(other, secret, 9) == BURST, "each as it saw it"
    one.settle()
    other.settle()
    # Five were taken too much, and are earned back before anything is admitted.
    for _ in range(5):
        clock.advance(0.5)
        assert admitted(one, secret) == admitted(other, secret) == 0
    clock.advance(0.5)
    assert admitted(one, secret) + admitted(other, secret) >= 1


def test_a_revoked_key_is_refused_a_moment_later_by_every_process(stores, clock):
    one, other = stores
    secret, key = one.create("ann", "read")
    assert admitted(one, secret) == admitted(other, secret) == 1
    one.revoke(key.id)
    with pytest.raises(InvalidKey, match="revoked"):
        admitted(one, secret)
    assert admitted(other, secret) == 1, "it asked a moment ago"
    clock.advance(2 * FRESH_S)
    with pytest.raises(InvalidKey, match="revoked"):
        admitted(other, secret)
    other.settle()
    assert left(one, key).revoked_at == START, "settling writes of the use alone"


def test_an_expiry_needs_no_question(stores, clock):
    one, _ = stores
    secret, _ = one.create("ann", "read", expires_days=FRESH_S / 2 / 86400)
    assert admitted(one, secret) == 1
    clock.advance(FRESH_S / 2)
    with pytest.raises(InvalidKey, match="expired"):
        one.admit_known(secret)


def test_whether_keys_exist_is_seen_by_every_process_and_stays(stores, clock):
    one, other = stores
    assert one.known_to_exist() is None
    assert not one.exist()
    assert not other.exist()
    assert one.known_to_exist() is False
    _, key = other.create("ann", "read")
    clock.advance(2 * FRESH_S)
    assert one.known_to_exist() is None
    assert one.exist()
    assert one.known_to_exist()
    other.revoke(key.id)
    clock.advance(1e6)
    assert one.known_to_exist()


def test_what_could_not_be_settled_is_settled_the_next_time(stores, clock, monkeypatch):
    one, other = stores
    secret, key = one.create("ann", "read")
    assert admitted(one, secret, 2) == 2

    @contextmanager
    def outage(engine):
        raise StoreUnavailable("the database does not answer")
        yield

    with monkeypatch.context() as broken:
        broken.setattr("service.storage.access.api_keys.unit_of_work", outage)
        with pytest.raises(StoreUnavailable):
            one.settle()
        assert admitted(one, secret) == 1
        with pytest.raises(StoreUnavailable):
            one.settle()
    assert one.settle() == 1
    clock.advance(2 * FRESH_S)
    assert admitted(other, secret, BURST) == BURST - 3


def test_keys_in_memory_are_those_of_the_last_moment(stores, clock):
    """Invalid keys never are, however many."""
    one, _ = stores
    secrets = [one.create("ann", "read")[0] for _ in range(5)]
    for number in range(200):
        with pytest.raises(InvalidKey):
            one.admit(f"subnet_{number}")
    assert one._use._keys == {}
    assert one.settle() == 0
    for secret in secrets:
        assert admitted(one, secret, 2) == 2
    assert (len(one._use._keys), one.settle(), one.settle()) == (5, 5, 0)
    assert one._use._keys == {}


def test_a_deleted_row_is_forgotten(stores):
    one, _ = stores
    secret, _ = one.create("ann", "read")
    assert admitted(one, secret) == 1
    with one._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM api_keys")
    assert one.settle() == 0
    assert one._use._keys == {}


# -- writers and readers -------------------------------------------------------------------------


@contextmanager
def writing(url):
    """Another process that holds SQLite's one write lock."""
    holder = sqlite3.connect(make_url(url).database or "", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.slow
@pytest.mark.anyio
async def test_no_request_with_a_key_waits_for_a_writer(settings):
    """Neither one with a valid key nor a flood of others."""
    required = settings.model_copy(update={"access": "required"})
    async with client_on(required) as client:
        keys = client._transport.app.state.service.keys  # type: ignore[attr-defined]
        secret, key = keys.create("ann", "read")
        with writing(settings.database):
            for number in range(20):
                for given, status in ((secret, 200), (f"subnet_{number}", 401)):
                    headers = {"Authorization": f"Bearer {given}"}
                    assert (await client.get("/v1/searches", headers=headers)).status_code == status
                assert (await client.post("/v1/searches", headers=headers)).status_code == 401
    after = open_database(settings.database)
    found = left(KeyStore(after, rate_per_s=1.0, burst=200), key)
    after.dispose()
    assert found.used_at > key.used_at, "what was counted is settled at the end"


# -- the arithmetic --------------------------------------------------------------------------------


class Processes:
    """Several processes' copies of a bucket, and the row that they settle in."""

    def __init__(self, count):
        self.clock = ManualClock()
        self.row = Bucket(float(BURST), START.timestamp())
        self.uses = [KeyUse(LIMIT, self.clock) for _ in range(count)]
        self.count = 0

    def ask(self, index):
        caller = Caller(owner="ann", scope="read", key_id="k")
        state = KeyState(caller=caller, bucket=self.row, expires_at=None, revoked_at=None)
        try:
            self.uses[index].take_known("k") or self.uses[index].take("k", state)
        except TooManyRequests:
            return False
        self.count += 1
        return True

    def settle(self, index):
        counted = self.uses[index].begin_settlement()
        for own, taken in counted.values():
            self.row = LIMIT.settled(self.row, own, taken, self.clock.now.timestamp())
        self.uses[index].end_settlement(dict.fromkeys(counted, self.row))


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.125, 0.5, 1.0, 10.0]),
        st.integers(0, 2),
        st.sampled_from(["ask", "ask", "ask", "settle"]),
    ),
    max_size=60,
)


@pytest.mark.slow
@given(STEPS)
def test_alone_it_is_a_plain_bucket_whenever_it_is_settled(steps):
    alone, tokens = Processes(1), float(BURST)
    for pause_s, _, act in steps:
        alone.clock.advance(pause_s)
        tokens = min(float(BURST), tokens + RATE_PER_S * pause_s)
        if act == "settle":
            alone.settle(0)
        else:
            assert alone.ask(0) == (tokens >= 1 - 1e-6)
            tokens -= tokens >= 1 - 1e-6


@given(STEPS)
def test_together_they_never_earn_more_than_the_rate(steps):
    together, elapsed_s = Processes(3), 0.0
    for pause_s, index, act in steps:
        together.clock.advance(pause_s)
        elapsed_s += pause_s
        (together.settle if act == "settle" else together.ask)(index)
    for index in range(3):
        together.settle(index)
    at_end = LIMIT.at(together.row, together.clock.now.timestamp())
    assert at_end.tokens <= BURST
    assert at_end.tokens <= BURST + RATE_PER_S * elapsed_s - together.count + 1e-6


def test_a_clock_that_goes_back_gives_nothing():
    alone = Processes(1)
    assert [alone.ask(0) for _ in range(BURST)] == [True] * BURST
    alone.clock.advance(-3600)
    assert not alone.ask(0)
    alone.settle(0)
    assert not alone.ask(0)


@pytest.mark.parametrize("settled_before", [False, True])
def test_a_clock_that_goes_back_locks_nobody_out(settled_before):
    both = Processes(2)
    assert [both.ask(0) for _ in range(BURST)] == [True] * BURST
    if settled_before:
        both.settle(0)
    both.clock.advance(-3600)
    assert not both.ask(0)
    both.settle(0)
    both.clock.advance(2 / RATE_PER_S)
    assert [both.ask(0) for _ in range(3)] == [True, True, False]
    both.settle(0)
    assert both.row.at_s <= both.clock.now.timestamp(), "what other processes read"
    both.clock.advance(2 / RATE_PER_S)
    assert [both.ask(1) for _ in range(3)] == [True, True, False]


def test_clocks_of_several_machines_that_differ_a_little_earn_once():
    ahead_s = AHEAD_S - 1
    shared = Bucket(0.0, START.timestamp() + ahead_s)
    for now_s in (START.timestamp(), START.timestamp() + ahead_s):
        assert LIMIT.at(shared, now_s) == shared
        assert LIMIT.settled(shared, Bucket(0.0, now_s), 0, now_s) == shared

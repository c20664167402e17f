"""Keys, rates, owners and the audit log, each at its edges."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from models.errors import InputError, NotFound
from service.contracts.access import LOCAL, Caller
from service.contracts.errors import InvalidKey, NotAllowed, TooManyRequests
from service.storage.access.api_keys import MAX_DAYS, KeyStore
from service.storage.access.audit import AuditLog
from service.storage.access.owners import Owners, claim, identity, own_key
from service.storage.access.rate_limits import RateLimit
from service.storage.sessions import unit_of_work
from tests.service.stored import START, new

ANN = Caller(owner="ann", scope="search", key_id="k")
BOB = Caller(owner="bob", scope="search", key_id="k")
ROOT = Caller(owner="root", scope="admin", key_id="k")


@pytest.fixture
def keys(engine, clock):
    return KeyStore(engine, rate_per_s=0.5, burst=3, now=clock)


# -- keys and rates ------------------------------------------------------------------------


def test_the_longest_life_of_a_key_and_the_moment_it_ends(keys, clock):
    secret, key = keys.create("a" * 64, "read", expires_days=MAX_DAYS)
    assert key.expires_at == START + timedelta(days=MAX_DAYS)
    with pytest.raises(InputError, match="up to 3660 days"):
        keys.create("ann", "read", expires_days=MAX_DAYS + 0.001)
    clock.now = key.expires_at - timedelta(milliseconds=1)
    assert keys.admit(secret).owner == "a" * 64
    clock.now = key.expires_at
    with pytest.raises(InvalidKey, match="expired"):
        keys.admit(secret)


def test_keys_are_listed_oldest_first_with_their_last_use(keys, clock):
    made = []
    for owner in ("zoe", "ann", "max"):
        made.append(keys.create(owner, "read"))
        clock.advance(10)
    keys.admit(made[1][0])
    keys.settle()
    listed = keys.keys()
    assert [key.owner for key in listed] == ["zoe", "ann", "max"]
    assert [key.used_at - START for key in listed] == [timedelta(seconds=s) for s in (0, 30, 20)]
    assert all(len(key.id) == 12 for key in listed)


def test_an_id_is_taken_literally(keys):
    _, key = keys.create("ann", "read")
    for pattern in ("_" * 12, "%", key.id[:-1] + "_"):
        with pytest.raises(NotFound, match="unknown key"):
            keys.revoke(pattern)
    assert keys.revoke(key.id[:6]).id == key.id


def test_a_bucket_is_full_at_first_and_never_fuller(keys, clock):
    secret, _ = keys.create("ann", "read")
    for pause_s in (0.0, 3600.0):
        clock.advance(pause_s)
        for _ in range(3):
            keys.admit(secret)
        with pytest.raises(TooManyRequests, match=r"0.5 requests a second, 3 at once") as refused:
            keys.admit(secret)
        assert refused.value.retry_after_s == 2


@pytest.mark.parametrize("rate_per_s", [0.1, 0.3, 2.0])
@pytest.mark.parametrize("tokens", [0.0, 0.25, 0.999])
def test_who_waits_as_long_as_told_is_admitted(rate_per_s, tokens):
    wait_s = RateLimit(rate_per_s=rate_per_s, burst=5).exceeded("k", tokens).retry_after_s
    assert tokens + rate_per_s * wait_s >= 1
    assert wait_s == 1 or tokens + rate_per_s * (wait_s - 1) < 1, "and no longer"
    assert wait_s == max(1, math.ceil((1 - tokens) / rate_per_s))


# -- owners --------------------------------------------------------------------------------


@pytest.fixture
def searches(stored):
    """Ids of ann's own, ann's shared, and nobody's search."""
    ids = [stored.submit(new(seed)).id for seed in range(3)]
    with unit_of_work(stored._engine) as session:
        claim(session, ids[0], "ann", shared=False)
        claim(session, ids[1], "ann", shared=True)
    return Owners(stored._engine), ids


@pytest.mark.parametrize(
    ("caller", "sees", "owns"),
    [
        (ANN, (True, True, False), (True, True, False)),
        (BOB, (False, True, False), (False, False, False)),
        (ROOT, (True, True, True), (True, True, True)),
        (LOCAL, (True, True, True), (True, True, True)),
        (Caller(owner=None, scope="search"), (False, True, False), (False, False, False)),
    ],
)
def test_who_sees_and_who_changes_a_search(searches, caller, sees, owns):
    owners, ids = searches
    for check, error, allowed in (
        (owners.check_seen, NotFound, sees),
        (owners.check_owned, NotAllowed, owns),
    ):
        for search_id, holds in zip(ids, allowed, strict=True):
            try:
                check(search_id, caller)
            except error:
                assert not holds, search_id
            else:
                assert holds, search_id


def test_the_first_claim_holds(searches):
    owners, ids = searches
    with unit_of_work(owners._engine) as session:
        claim(session, ids[0], "bob", shared=True)
    owners.check_owned(ids[0], ANN)
    with pytest.raises(NotFound):
        owners.check_seen(ids[0], BOB)


def test_equal_requests_are_one_search_where_the_same_people_see_it():
    request = {"seed": 1}
    assert identity(request, LOCAL, shared=False) == request
    private = [identity(request, caller, shared=False) for caller in (ANN, BOB, ANN)]
    assert private[0] == private[2] != private[1]
    shared = [identity(request, caller, shared=True) for caller in (ANN, BOB)]
    assert shared[0] == shared[1]
    assert shared[0] not in private
    assert all(found["seed"] == 1 for found in (*private, *shared))


def test_an_idempotency_key_is_each_owners_own():
    assert own_key("key", LOCAL) == "key"
    keys = {own_key(key, caller) for key in ("key", "other") for caller in (ANN, BOB)}
    assert len(keys) == 4
    assert "key" not in keys
    joined = [Caller(owner=owner, scope="read") for owner in ("a", "ab")]
    assert own_key("bc", joined[0]) != own_key("c", joined[1])


# -- the audit log -------------------------------------------------------------------------


def test_the_log_is_read_newest_first_of_one_or_of_all(engine, clock):
    audit = AuditLog(engine, clock)
    for index, caller in enumerate((ANN, BOB, ANN, LOCAL)):
        clock.advance(1)
        audit.end(audit.begin(caller, f"act {index}", "request"), 200 + index, "x" * 400)
    every = audit.entries()
    assert [entry.action for entry in every] == [f"act {n}" for n in (3, 2, 1, 0)]
    assert [entry.status for entry in every] == [203, 202, 201, 200]
    assert [entry.at - START for entry in every] == [timedelta(seconds=s) for s in (4, 3, 2, 1)]
    assert [entry.action for entry in audit.entries(owner="ann")] == ["act 2", "act 0"]
    assert [entry.action for entry in audit.entries(limit=1)] == ["act 3"]
    assert {entry.key_id for entry in every} == {"k", None}
    assert {entry.target for entry in every} == {"x" * 300}
    long = audit.begin(ANN, "y" * 400)
    (entry,) = audit.entries(limit=1)
    assert (entry.id, len(entry.action), entry.request_id) == (long, 300, None)

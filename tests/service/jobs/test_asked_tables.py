"""A search is answered by the predictor and the tables that its request names."""

from __future__ import annotations

import pytest

from latency_tables.table.conditions import Conditions
from models.errors import InputError
from service.contracts.access import Caller
from service.contracts.searches import SearchRequest
from service.jobs.queue import Durable
from service.jobs.submission import submit
from service.jobs.worker import Worker
from service.storage.artifacts import ArtifactStore
from tests.service.conftest import DEVICE, SUPERNET, catalog_of, make_table

INT8 = Conditions(runtime="fake", precision="int8", batch=1)
ASKED = {"supernet": SUPERNET, "device": DEVICE, "constraints": {"latency_ms": 0.8}}


@pytest.fixture
def catalog(settings):
    return catalog_of(settings.home)


@pytest.fixture
def worker(home_engine, catalog, settings):
    artifacts = ArtifactStore(settings.artifacts)
    return Worker(home_engine, Durable(home_engine), catalog, artifacts, settings)


@pytest.mark.slow
def test_a_search_is_answered_by_the_predictor_that_it_names(worker, store, catalog, home):
    search = submit(store, catalog, SearchRequest.model_validate(ASKED))
    card = home / "supernets" / SUPERNET / "card.json"
    card.write_text(card.read_text().replace(search.request["predictor_sha256"], "0" * 64))
    assert worker.do(search.id, 1) == "failed"
    error = store.get(search.id).error["detail"]
    assert "changed since this was asked: expected a predictor with sha256" in error


@pytest.mark.slow
def test_int8_is_compared_with_the_table_of_whoever_asked(worker, store, catalog, monkeypatch):
    """Names of private devices are each owner's own, and a worker works for all owners."""
    searched = []

    def seen(context, *_, **__):
        searched.append(context)
        raise InputError("seen")

    monkeypatch.setattr("service.jobs.worker.deliver", seen)
    tables = {
        "ann": make_table("host"),
        "bob": None,
        "cyd": make_table("host", network_overhead_ms=9.0),
    }
    for owner, table in tables.items():
        caller = Caller(owner=owner, scope="search")
        theirs = catalog.seen_by(caller)
        theirs.devices.add(make_table("host", conditions=INT8, network_overhead_ms=0.25))
        if table is not None:
            theirs.devices.add(table)
        asked = SearchRequest.model_validate({**ASKED, "device": "host", "precision": "int8"})
        search = submit(store, theirs, asked, caller=caller)
        worker.do(search.id, 1)
        assert searched.pop().float_table == table

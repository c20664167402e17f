"""What is answered about a search is written once, and is what would be written anew."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from latency_tables.table.sittings import Sitting
from latency_tables.table.table import table_to_json
from service.catalog.descriptions import describe_searches
from service.catalog.devices import Devices
from service.http.answers import Answers
from service.storage.devices import DeviceStore
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from tests.service.conftest import make_table
from tests.service.stored import PROBLEM, new


class CountingStore(SearchStore):
    reads = 0

    def get(self, search_id):
        self.reads += 1
        return super().get(search_id)


@pytest.fixture
def store(engine):
    return CountingStore(engine)


@pytest.fixture
def answers(store):
    return Answers(store)


@pytest.fixture
def devices(engine):
    kept = DeviceStore(engine)
    return Devices(lambda _: kept)


@pytest.fixture
def text(answers, store, devices):
    """What is answered; it must be what the list says."""

    def text(search_id):
        found = answers.text(store.state(search_id), devices)
        (listed,) = describe_searches(devices, [SearchStore.get(store, search_id)])
        assert found == listed.model_dump_json()
        return json.loads(found)

    return text


def ask(store, table, seed=0, **limits):
    request = {"seed": seed, "device": table.device, "supernet": "net", "constraints": limits}
    profile = table_to_json(table)
    sha256 = DeviceStore(store._engine).current(table.device)[0].sha256
    asked = replace(new(seed, device=table.device), profile=profile, profile_sha256=sha256)
    return store.submit(replace(asked, request=request))


def test_written_once_it_has_ended_and_not_before(text, devices, store, engine):
    table = make_table()
    devices.add(table)
    runs, search = RunStore(engine), ask(store, table)
    for _ in range(2):
        assert text(search.id)["status"] == "queued"
    assert store.reads == 2
    runs.start(search.id, 1, "w")
    assert text(search.id)["status"] == "running"
    assert runs.fail(search, "w", PROBLEM)
    for _ in range(3):
        assert text(search.id)["error"] == PROBLEM
    assert store.reads == 4, "an end is written once"
    # Asked again it runs again, and what was written of the run before is not answered.
    again = ask(store, table)
    assert (again.id, again.run) == (search.id, 2)
    assert text(search.id)["status"] == "queued"
    store.cancel(search.id)
    assert text(search.id)["status"] == "cancelled"


def test_a_table_that_was_replaced_shows_in_what_is_written_already(text, devices, store):
    table = make_table()
    devices.add(table)
    search = ask(store, table)
    store.cancel(search.id)
    assert text(search.id)["current"] is True
    devices.add(make_table(network_overhead_ms=0.5), replace=True)
    assert text(search.id)["current"] is False
    devices.add(table, replace=True)
    assert text(search.id)["current"] is True
    assert store.reads == 2


def test_a_sitting_leaves_what_was_found_current_but_for_limits_on_the_bound(text, devices, store):
    table = make_table()
    devices.add(table)
    plain = ask(store, table, latency_ms=0.8)
    bounded = ask(store, table, seed=1, latency_ms=0.8, latency_confidence=0.9)
    grown = table.with_sitting(Sitting(measured_at=None, networks=60, ratio=1.2))
    devices.add(grown, follows=devices.kept(table.device, table.space))
    assert grown.sha256 != table.sha256
    assert (text(plain.id)["current"], text(bounded.id)["current"]) == (True, False)
    devices.add(make_table(network_overhead_ms=0.5), replace=True)
    assert text(plain.id)["current"] is False

"""Who is dead, and what becomes of their runs: on both databases, by a clock of the test's own."""

from __future__ import annotations

import os
import socket

import pytest

from service.jobs.queue import Durable
from service.jobs.recovery import WorkerRecovery, _machine, has_ended, new_executor
from service.storage import ExecutorStore
from service.storage.database import open_database
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from tests.service.stored import new

DEAD_AFTER_S = 10.0


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(database_url):
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def executors(engine):
    return ExecutorStore(engine)


@pytest.fixture
def durable(engine):
    return Durable(engine)


@pytest.fixture
def store(engine, durable):
    return SearchStore(engine, enqueue=durable.enqueue)


@pytest.fixture
def runs(engine, durable):
    return RunStore(engine, enqueue=durable.enqueue)


@pytest.fixture
def recovery(executors, runs, durable, clock):
    return WorkerRecovery("me", executors, runs, durable, dead_after_s=DEAD_AFTER_S, clock=clock)


def watch(recovery, clock, seconds, beat=()):
    """Look around once a second, while some beat."""
    for _ in range(seconds):
        clock.now += 1
        for executor in beat:
            recovery.executors.heartbeat(executor)
        recovery.check_others()


def test_whose_beat_stands_still_is_buried_and_its_search_waits_again(
    recovery, executors, store, runs, clock
):
    search = store.submit(new())
    executors.heartbeat("far/1/x")
    executors.heartbeat("far/2/x")
    runs.start(search.id, 1, "far/1/x")
    watch(recovery, clock, 10, beat=["far/2/x"])
    assert set(executors.heartbeats()) == {"far/1/x", "far/2/x"}
    watch(recovery, clock, 2, beat=["far/2/x"])
    assert set(executors.heartbeats()) == {"far/2/x"}
    assert store.get(search.id).status == "queued"


def test_a_view_that_was_interrupted_buries_nobody(recovery, executors, clock):
    executors.heartbeat("far/1/x")
    watch(recovery, clock, 9)
    clock.now += 60  # the database was gone for everybody
    watch(recovery, clock, 9)
    assert set(executors.heartbeats()) == {"far/1/x"}
    watch(recovery, clock, 3)
    assert executors.heartbeats() == {}


def test_of_two_that_notice_one_buries(executors):
    executors.heartbeat("far/1/x")
    assert executors.claim("far/1/x", 1)
    assert not executors.claim("far/1/x", 1)
    # Should that one die before it is done, the next may.
    assert executors.claim("far/1/x", 2)


def test_who_was_buried_alive_comes_back(executors):
    executors.heartbeat("far/1/x")
    executors.remove("far/1/x")
    executors.heartbeat("far/1/x")
    assert executors.heartbeats() == {"far/1/x": 1}


def test_the_dead_of_this_machine_are_known_at_once(recovery, executors, clock):
    nobody = 2**22 + 1  # beyond Linux's largest process id
    names = {
        "dead": f"{_machine()}/{nobody}/x",
        "earlier": f"{_machine()}/{os.getpid()}/x",  # this number, before this process had it
        "alive": f"{_machine()}/{os.getppid()}/x",
        "elsewhere": f"other-{socket.gethostname()}:1/{nobody}/x",
    }
    assert [has_ended(name) for name in names.values()] == [True, True, False, False]
    for name in names.values():
        executors.heartbeat(name)
    watch(recovery, clock, 1)
    assert set(executors.heartbeats()) == {names["alive"], names["elsewhere"]}


def test_a_name_is_of_a_process_and_never_twice_the_same():
    assert new_executor() != new_executor()
    assert new_executor().split("/")[1] == str(os.getpid())


def test_a_search_whose_run_nobody_knows_is_started_anew(recovery, store, durable):
    search = store.submit(new())
    recovery.sweep(())
    assert store.get(search.id).run == 1, "it waits in the queue: all is well"
    durable._client.delete_workflows([search.workflow_id])
    recovery.sweep(())
    assert store.get(search.id).run == 2
    assert durable.states([f"{search.id}.2"])[f"{search.id}.2"].status == "ENQUEUED"

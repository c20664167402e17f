"""Who is dead, and what becomes of their runs: on both databases, by a clock of the test's own."""

from __future__ import annotations

import os
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import Conflict
from service.jobs import identity
from service.jobs.identity import has_ended, new_executor
from service.jobs.queue import Durable
from service.jobs.recovery import MISSED_HEARTBEATS, WorkerRecovery
from service.storage import ExecutorStore
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from service.storage.sessions import utc_now
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


def named(host="here", machine=None, pid=None, start=None):
    """An executor's name."""
    machine = machine or identity._machine()
    pid = os.getpid() if pid is None else pid
    return f"{host}/{machine}/{pid}.{start or 7}/{uuid.uuid4().hex}"


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


def test_the_dead_of_this_machine_are_noticed_after_two_heartbeats(recovery, executors, clock):
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = {
        "dead": named(pid=ended.pid),
        "earlier": named(start="1"),  # this number, before this process had it
        "alive": named(pid=os.getppid(), start=identity._start(os.getppid())),
        "elsewhere": named(machine="0" * 32, pid=ended.pid),
    }
    assert [has_ended(name) for name in names.values()] == [True, True, False, False]
    for name in names.values():
        executors.heartbeat(name)
    watch(recovery, clock, MISSED_HEARTBEATS)
    assert set(executors.heartbeats()) == set(names.values())
    watch(recovery, clock, 1)
    assert set(executors.heartbeats()) == {names["alive"], names["elsewhere"]}


def test_nobody_whose_heart_beats_is_taken_for_dead_whatever_its_name_says(
    recovery, executors, clock
):
    """A copy of a running machine has its boot id too, and other processes."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    name = named(pid=ended.pid)
    assert has_ended(name)
    watch(recovery, clock, 30, beat=[name])
    assert set(executors.heartbeats()) == {name}


@pytest.mark.parametrize("differs", [None, "boot_id", "pid", "time"])
def test_a_machine_is_one_boot_of_one_kernel_and_one_process_namespace(monkeypatch, differs):
    """Whatever else is the same: cloned machines share host name, machine-id, namespace number."""
    there = named(pid=2**22 + 1)
    real_text, real_stat = Path.read_text, os.stat

    def read_text(path):
        return "other" if path.name == differs else real_text(path)

    def stat(path, **names):
        return real_stat("/" if path == f"/proc/self/ns/{differs}" else path, **names)

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Path, "read_text", read_text)
        elsewhere.setattr(os, "stat", stat)
        identity._machine.cache_clear()
        ended = has_ended(there)
    identity._machine.cache_clear()
    assert ended == (differs is None)


def test_where_the_system_does_not_tell_nobody_is_of_the_same_machine(monkeypatch):
    def hidden(*_):
        raise PermissionError

    here = named(pid=2**22 + 1)
    with monkeypatch.context() as hiding:
        hiding.setattr(Path, "read_text", hidden)
        identity._machine.cache_clear()
        assert not has_ended(here)
        assert identity._start(os.getpid()) == ""
        assert not has_ended(new_executor())
    identity._machine.cache_clear()
    assert has_ended(here)


def test_a_name_is_of_a_process_and_never_twice_the_same():
    assert new_executor() != new_executor()
    assert new_executor().split("/")[2].split(".")[0] == str(os.getpid())
    assert not has_ended(new_executor())
    longest = named(host="h" * 64, pid=2**22, start="9" * 12)
    assert len(longest) < 200, "the column's length"
    assert has_ended(longest)


def test_of_two_executors_of_one_name_the_second_is_refused(executors):
    executors.heartbeat("twin", "a1", {"a1"})
    with pytest.raises(Conflict, match="another process works under the name 'twin'"):
        executors.heartbeat("twin", "b1", {"b1"})
    executors.heartbeat("twin", "a2", {"a1", "a2"})
    # Copies of one running process, too: both know what was stored last, until one beats.
    executors.heartbeat("twin", "a3", {"a2", "a3"})
    with pytest.raises(Conflict):
        executors.heartbeat("twin", "c3", {"a2", "c3"})
    # A heartbeat that was stored although its answer got lost is no stranger's.
    executors.heartbeat("twin", "a5", {"a2", "a3", "a4", "a5"})
    assert executors.heartbeats() == {"twin": 4}


def test_two_executors_of_one_name_that_start_at_once(engine):
    """Whoever is second is refused, also where the row does not exist yet."""

    def start(number):
        try:
            ExecutorStore(engine).heartbeat("twin", f"{number}", {f"{number}"})
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(start, range(6))) == 1


@pytest.mark.parametrize(("theirs", "refused"), [("", False), ("b1", True)])
def test_a_name_that_another_process_stores_at_the_same_moment(engine, theirs, refused):
    """A sweep stores the name of a worker that has no row; a second worker its own token."""

    def meanwhile():
        ExecutorStore(engine).heartbeat("far/1/x", theirs)
        return utc_now()

    executors = ExecutorStore(engine, meanwhile)
    if refused:
        with pytest.raises(Conflict, match="another process works under the name"):
            executors.heartbeat("far/1/x", "a1", {"a1"})
    else:
        executors.heartbeat("far/1/x", "a1", {"a1"})
        assert executors.heartbeats() == {"far/1/x": 2}
        with pytest.raises(Conflict):
            ExecutorStore(engine).heartbeat("far/1/x", "b1", {"b1"})


def test_a_search_whose_run_nobody_knows_is_started_anew(recovery, store, durable):
    search = store.submit(new())
    recovery.sweep(())
    assert store.get(search.id).run == 1, "it waits in the queue: all is well"
    durable._client.delete_workflows([search.workflow_id])
    recovery.sweep(())
    assert store.get(search.id).run == 2
    assert durable.states([f"{search.id}.2"])[f"{search.id}.2"].status == "ENQUEUED"

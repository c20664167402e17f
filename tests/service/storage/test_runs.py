"""Runs as workers see them, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from service.contracts.errors import QueueFull
from service.storage.runs import RunStore
from tests.service.stored import PROBLEM, RESULT, START, new


@pytest.fixture
def ended():
    """(status, id) of every search that somebody was told had ended."""
    return []


@pytest.fixture
def runs(stored, clock, ended):
    def told(session, search):
        ended.append((search.status, search.id))

    stored._ended = told
    return RunStore(stored._engine, clock, ended=told)


def test_a_run_that_another_takes_over_keeps_the_moment_it_started(stored, runs, clock):
    search = stored.submit(new())
    runs.start(search.id, 1, "first")
    clock.advance(5)
    assert runs.start(search.id, 1, "second").started_at == START
    clock.advance(2)
    assert runs.succeed(search, "second", RESULT)
    assert (clock() - stored.get(search.id).finished_at).total_seconds() == 0


def test_the_unfinished_are_told_oldest_first_and_no_more_than_asked_for(stored, runs, clock):
    searches = []
    for seed in range(4):
        searches.append(stored.submit(new(seed)))
        clock.advance(1)
    runs.start(searches[1].id, 1, "w")
    runs.start(searches[2].id, 1, "w")
    runs.fail(searches[2], "w", PROBLEM)
    expected = [searches[n].id for n in (0, 1, 3)]
    assert [search.id for search in runs.unfinished(10)] == expected
    assert [search.id for search in runs.unfinished(2)] == expected[:2]


def test_an_end_is_told_once_with_the_search_as_it_ended(stored, runs, ended):
    good, bad, stopped = (stored.submit(new(seed)) for seed in range(3))
    for search in (good, bad):
        runs.start(search.id, 1, "w")
    for _ in range(2):
        runs.succeed(good, "w", RESULT)
        runs.fail(bad, "w", PROBLEM)
        stored.cancel(stopped.id)
    assert ended == [("succeeded", good.id), ("failed", bad.id), ("cancelled", stopped.id)]
    kinds = [[event.kind for event in stored.events(s.id)] for s in (good, bad, stopped)]
    assert [kind[-1] for kind in kinds] == ["succeeded", "failed", "cancelled"]
    assert [len(kind) for kind in kinds] == [3, 3, 2]


def test_the_numbers_that_lists_are_sorted_by_are_the_results_own(stored, runs):
    search = stored.submit(new())
    runs.start(search.id, 1, "w")
    runs.succeed(search, "w", RESULT)
    found = stored.get(search.id)
    assert (found.result, found.artifact_sha256, found.error) == (RESULT, RESULT["sha256"], None)
    assert stored.artifacts() == {RESULT["sha256"]}
    with stored.session_scope() as session:
        query = "SELECT latency_ms, top1, worker FROM searches"
        assert session.connection().exec_driver_sql(query).one() == (1.5, 90.0, None)


def test_what_is_released_or_run_anew_is_told_to_wait_again(stored, runs):
    search = stored.submit(new())
    runs.start(search.id, 1, "w")
    assert runs.release("w", count_attempt=True) == 1
    assert runs.release("w", count_attempt=True) == 0
    assert runs.rerun(search)
    found = stored.get(search.id)
    assert (found.status, found.run, found.attempts) == ("queued", 2, 2)
    kinds = [event.kind for event in stored.events(search.id)]
    assert kinds == ["queued", "running", "queued", "queued"]


def test_a_full_queue_takes_nothing_back_either(stored, runs):
    failed = stored.submit(new(0))
    runs.start(failed.id, 1, "w")
    runs.fail(failed, "w", PROBLEM)
    stored._max_queued = 1
    stored.submit(new(1))
    with pytest.raises(QueueFull, match="1 searches wait"):
        stored.submit(new(0))
    assert stored.get(failed.id).status == "failed"


def test_asked_again_a_search_starts_from_nothing(stored, runs, clock):
    enqueued = []
    stored._enqueue = lambda session, search: enqueued.append(search.workflow_id)
    search = stored.submit(new())
    runs.start(search.id, 1, "w")
    runs.fail(search, "w", PROBLEM)
    clock.advance(60)
    again = stored.submit(new())
    assert (again.started_at, again.finished_at, again.error) == (None, None, None)
    assert again.created_at == START, "it keeps its place in lists"
    assert enqueued == [f"{search.id}.1", f"{search.id}.2"]
    assert [event.kind for event in stored.events(search.id)][-1] == "queued"
    assert stored.find_by_request(new().request_sha256) == again
    stored.cancel(search.id)
    assert stored.find_by_request(new().request_sha256) is None
    state = stored.state(search.id)
    assert (state.id, state.run, state.status, state.device) == (search.id, 2, "cancelled", "phone")
    assert state.profile_sha256 == search.profile_sha256

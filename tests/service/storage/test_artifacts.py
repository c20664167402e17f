"""Artifacts are what their names say, in a folder and in a bucket alike."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from datetime import timedelta

import pytest

from models.errors import InputError
from service.storage.artifacts import ArtifactLost, ArtifactStore, ArtifactUnwritable


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    url = tmp_path.as_uri() if request.param == "file" else f"memory://{uuid.uuid4().hex}"
    return ArtifactStore(url)


def test_round_trip(store):
    sha256 = store.put(b"model")
    assert sha256 == hashlib.sha256(b"model").hexdigest()
    assert store.put(b"model") == sha256
    assert store.get(sha256) == b"model"


def test_what_has_ended_is_said_to_be(store):
    with pytest.raises(ArtifactLost, match="is gone"):
        store.get("0" * 64)


def test_damage_is_noticed(tmp_path):
    store = ArtifactStore(tmp_path.as_uri())
    sha256 = store.put(b"a whole model")
    (tmp_path / sha256[:2] / sha256).write_bytes(b"a whole")
    with pytest.raises(ArtifactLost, match="is damaged: found 7 bytes"):
        store.get(sha256)


def test_nothing_else_is_left_behind(tmp_path):
    store = ArtifactStore(tmp_path.as_uri())
    store.put(b"model")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_store_within_a_store_is_cleared_without_the_other(store):
    kept, inner = store.put(b"kept"), store.within("drafts/run.1")
    draft = inner.put(b"draft")
    with pytest.raises(ArtifactLost):
        store.get(draft)
    inner.clear()
    inner.clear()
    with pytest.raises(ArtifactLost):
        inner.get(draft)
    assert store.get(kept) == b"kept"


def test_a_place_that_cannot_be_written_says_why_and_keeps_nothing(tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path.as_uri())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        ArtifactUnwritable, match="7 bytes cannot be stored: No space left"
    ) as error:
        store.put(b"a model")
    assert str(tmp_path) not in str(error.value), "where it lies is the operator's business"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_error_without_words_is_named_by_its_kind(tmp_path, monkeypatch):
    def broken(*_):
        raise ConnectionResetError

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(ArtifactUnwritable, match="cannot be stored: ConnectionResetError"):
        ArtifactStore(tmp_path.as_uri()).put(b"a model")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unknown_place_is_refused():
    with pytest.raises(InputError, match="artifacts_url"):
        ArtifactStore("gopher://host/folder")


HOUR = timedelta(hours=1)


def aged(store, sha256, hours):
    """Make a stored file older than it is."""
    path = store._path(sha256)
    if store._local:
        then = time.time() - 3600 * hours
        os.utime(path, (then, then))
    else:
        store._files.store[path].modified -= timedelta(hours=hours)


def test_only_what_is_old_and_unwanted_is_collected(store):
    wanted, old, young = (store.put(word) for word in (b"wanted", b"old", b"young"))
    aged(store, wanted, 5)
    aged(store, old, 5)
    dry = store.collect(lambda: {wanted}, HOUR, dry_run=True)
    assert (dry.kept, dry.removed, dry.freed_bytes) == (2, 1, len(b"old"))
    assert store.get(old) == b"old"
    assert store.collect(lambda: {wanted}, HOUR) == dry
    assert (store.get(wanted), store.get(young)) == (b"wanted", b"young")
    with pytest.raises(ArtifactLost):
        store.get(old)
    again = store.collect(lambda: {wanted}, HOUR)
    assert (again.kept, again.removed, again.freed_bytes) == (2, 0, 0)


def test_what_is_put_again_is_young_again(store):
    sha256 = store.put(b"model")
    aged(store, sha256, 5)
    assert store.put(b"model") == sha256
    assert store.collect(set, HOUR).removed == 0
    assert store.get(sha256) == b"model"


def test_a_writer_between_listing_and_removing_loses_nothing(store):
    """The writer stores the same bytes, and refers to them, after the references were read."""
    sha256 = store.put(b"model")
    aged(store, sha256, 5)

    def referred_before_the_writer_came():
        store.put(b"model")
        return set()

    assert store.collect(referred_before_the_writer_came, HOUR).removed == 0
    assert store.get(sha256) == b"model"


def test_what_another_removes_meanwhile_is_not_counted(store):
    first, second = store.put(b"first"), store.put(b"the second")
    for sha256 in (first, second):
        aged(store, sha256, 5)

    def referred_while_another_collects():
        store._files.rm_file(store._path(first))
        return set()

    found = store.collect(referred_while_another_collects, HOUR)
    assert (found.kept, found.removed, found.freed_bytes) == (0, 1, len(b"the second"))


def test_what_another_removes_while_it_is_put_is_written_again(tmp_path):
    store = ArtifactStore(tmp_path.as_uri())
    sha256 = store.put(b"model")
    (tmp_path / sha256[:2] / sha256).unlink()
    assert store.put(b"model") == sha256
    assert store.get(sha256) == b"model"


def test_strangers_and_drafts_are_left_alone_and_broken_writes_are_not(tmp_path):
    store = ArtifactStore(tmp_path.as_uri())
    sha256 = store.put(b"model")
    (tmp_path / "notes.txt").write_text("of the operator")
    store.within("drafts/a").put(b"draft")
    partial = tmp_path / sha256[:2] / f"{sha256}.{'0' * 32}.partial"
    partial.write_bytes(b"mod")
    then = time.time() - 7200
    for path in tmp_path.rglob("*"):
        os.utime(path, (then, then))
    assert store.collect(lambda: {sha256}, HOUR).removed == 1
    assert not partial.exists()
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {sha256, "notes.txt", hashlib.sha256(b"draft").hexdigest()}


def test_nothing_to_collect_is_no_error(tmp_path):
    assert ArtifactStore((tmp_path / "none").as_uri()).collect(set, HOUR).kept == 0


@pytest.mark.slow
def test_the_command_keeps_what_searches_refer_to(run_json, run, home):
    store = ArtifactStore((home / "artifacts").as_uri())
    old = store.put(b"nobody's")
    aged(store, old, 30)
    assert run_json("gc", "--dry-run") == {
        "kept": 0, "removed": 1, "freed_bytes": 8, "dry_run": True
    }  # fmt: skip
    assert "removed 1 files, 8 bytes" in run("gc").stdout
    assert "grace" in run("gc", "--grace-hours", 0, code=2).stderr

"""Artifacts are what their names say, in a folder and in a bucket alike."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from models.errors import InputError
from service.artifacts import ArtifactLost, ArtifactStore, ArtifactUnwritable


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    url = tmp_path.as_uri() if request.param == "file" else f"memory://{uuid.uuid4().hex}"
    return ArtifactStore(url)


def test_round_trip(store):
    sha256 = store.put(b"model")
    assert sha256 == hashlib.sha256(b"model").hexdigest()
    assert store.put(b"model") == sha256
    assert store.get(sha256) == b"model"


def test_what_is_gone_is_said_to_be(store):
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


def test_an_unknown_place_is_refused():
    with pytest.raises(InputError, match="artifacts_url"):
        ArtifactStore("gopher://host/folder")

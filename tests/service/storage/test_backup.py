"""What is backed up comes back whole, on either database, or not at all."""

from __future__ import annotations

import shutil
import tarfile

import pytest

from models.errors import Conflict, InputError
from service.jobs.queue import Durable
from service.jobs.recovery import WorkerRecovery
from service.storage import ExecutorStore
from service.storage.artifacts import ArtifactLost, ArtifactStore
from service.storage.backup import restore_backup, tables, write_backup
from service.storage.database import open_database, revisions
from service.storage.runs import RunStore
from service.storage.searches import SearchStore
from tests.service.stored import new


@pytest.fixture
def source(database_url, tmp_path):
    """A database with a search that succeeded, one that runs and one that waits."""
    engine = open_database(database_url)
    artifacts = ArtifactStore((tmp_path / "from").as_uri())
    store, runs = SearchStore(engine), RunStore(engine)
    done = runs.start(store.submit(new(0), ("key", "body")).id, 1, "w")
    assert done is not None
    sha256 = artifacts.put(b"a model")
    runs.succeed(done, "w", {"latency_ms": 1.5, "top1": 90.0, "sha256": sha256})
    runs.start(store.submit(new(1)).id, 1, "w")
    store.submit(new(2))
    yield engine, artifacts
    engine.dispose()


@pytest.fixture
def target(request, tmp_path):
    """An empty database of the other kind."""
    other = "postgresql" if "[sqlite]" in request.node.name else "sqlite"
    if other == "sqlite":
        url = f"sqlite:///{tmp_path / 'restored.sqlite'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    engine = open_database(url)
    yield engine, ArtifactStore((tmp_path / "to").as_uri())
    engine.dispose()


def rows(engine):
    with engine.connect() as connection:
        return {
            table.name: list(
                connection.execute(table.select().order_by(*table.primary_key.columns))
            )
            for table in tables()
        }


@pytest.mark.slow
def test_from_one_database_to_the_other(source, target, tmp_path):
    counts = write_backup(source[0], source[1], tmp_path / "backup.tar")
    assert (counts["searches"], counts["artifacts"], counts["events"]) == (3, 1, 6)
    assert restore_backup(target[0], target[1], tmp_path / "backup.tar") == counts
    engine, artifacts = target
    before, after = rows(source[0]), rows(engine)
    index = [row.status for row in before["searches"]].index("running")
    ran = before["searches"].pop(index), after["searches"].pop(index)
    assert {name: sorted(map(str, found)) for name, found in after.items()} == {
        name: sorted(map(str, found)) for name, found in before.items()
    }
    assert (ran[0].status, ran[1].status, ran[1].worker) == ("running", "queued", None)
    store = SearchStore(engine, enqueue=Durable(engine).enqueue)
    (done,) = [
        s for s in map(store.get, [row.id for row in after["searches"]]) if s.artifact_sha256
    ]
    assert artifacts.get(done.artifact_sha256) == b"a model"
    assert store.find_by_key("key", "body") == done
    # Life goes on: new rows get new numbers, and what waited is enqueued by the sweep.
    store.submit(new(3))
    runs, durable = RunStore(engine, enqueue=Durable(engine).enqueue), Durable(engine)
    WorkerRecovery("me", ExecutorStore(engine), runs, durable, dead_after_s=1).sweep(())
    waiting = runs.unfinished(10)
    assert len(durable.states([search.workflow_id for search in waiting])) == len(waiting) == 3


def test_only_into_an_empty_database(source, tmp_path):
    write_backup(source[0], source[1], tmp_path / "backup.tar")
    with pytest.raises(Conflict, match="is not empty"):
        restore_backup(source[0], source[1], tmp_path / "backup.tar")


def test_a_backup_does_not_overwrite_and_leaves_nothing_half_done(source, tmp_path):
    engine, artifacts = source
    path = tmp_path / "backup.tar"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists"):
        write_backup(engine, artifacts, path)
    artifacts.clear()
    with pytest.raises(ArtifactLost, match="is gone"):
        write_backup(engine, artifacts, tmp_path / "other.tar")
    assert {p.name for p in tmp_path.glob("*.tar*")} == {"backup.tar"}


@pytest.mark.slow
def test_a_damaged_backup_changes_nothing(source, target, tmp_path):
    path = tmp_path / "backup.tar"
    write_backup(source[0], source[1], path)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        model = next(m for m in tar if m.name.startswith("artifacts/"))
    for damaged in (
        whole[: len(whole) // 2],
        b"",
        whole.replace(b"a model", b"b model"),
        whole.replace(b'"status": "succeeded"', b'"status": "sucxeeded"'),
    ):
        assert damaged != whole
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a whole backup"):
            restore_backup(target[0], target[1], path)
    assert model.size == len(b"a model")
    assert not any(rows(target[0]).values())


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_rows_come_back_whatever_the_size_of_a_batch(migrated_sqlite, tmp_path, batch, monkeypatch):
    monkeypatch.setattr("service.storage.backup.BATCH", batch)
    urls = [f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / name)}" for name in ("a", "b")]
    engine, other = map(open_database, urls)
    store = SearchStore(engine)
    for seed in range(3):
        store.submit(new(seed))
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri())
    counts = write_backup(engine, artifacts, tmp_path / "backup.tar")
    assert (counts["searches"], counts["events"], counts["artifacts"]) == (3, 3, 0)
    assert restore_backup(other, artifacts, tmp_path / "backup.tar") == counts
    assert rows(other) == rows(engine)
    engine.dispose()
    other.dispose()


def test_a_backup_of_another_format_or_schema_is_refused(migrated_sqlite, tmp_path):
    engine = open_database(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'a')}")
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri())
    path = tmp_path / "backup.tar"
    write_backup(engine, artifacts, path)
    whole = path.read_bytes()
    for change in ((b'"format": 1', b'"format": 2'), (b'"schema": "0', b'"schema": "9')):
        changed = whole.replace(*change)
        assert changed != whole
        path.write_bytes(changed)
        with pytest.raises(
            InputError, match="expected format 1 and a schema up to 0.* restore it with"
        ):
            restore_backup(engine, artifacts, path)
    engine.dispose()


def test_a_backup_of_an_older_schema_wants_a_new_database(migrated_sqlite, tmp_path, monkeypatch):
    engine = open_database(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'a')}")
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri())
    write_backup(engine, artifacts, tmp_path / "backup.tar")
    monkeypatch.setattr("service.storage.backup.head", lambda: "9999_later")
    with pytest.raises(Conflict, match=f"its schema {revisions()[-1]} is older than 9999_later"):
        restore_backup(engine, artifacts, tmp_path / "backup.tar")
    engine.dispose()


def test_a_place_that_cannot_be_written_is_said_so(migrated_sqlite, tmp_path):
    engine = open_database(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'a')}")
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri())
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write_backup(engine, artifacts, tmp_path / "none" / "backup.tar")
    with pytest.raises(InputError, match="not a whole backup: .*No such file"):
        restore_backup(engine, artifacts, tmp_path / "none.tar")
    engine.dispose()

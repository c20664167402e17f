"""A database, a backup and a home of 600789d are taken up as they are (stored/, PROVENANCE.md)."""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.storage.database import head
from tests.trainings import write_photos

pytestmark = pytest.mark.golden
STORED = Path(__file__).parent / "stored"
DEVICE, OLDER = "debug-device", "older-device"


@pytest.fixture
def run(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SUBNET_HOME", str(home))

    def run(*args):
        result = CliRunner().invoke(app, [*map(str, args), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def unpacked(name, path):
    path.write_bytes(gzip.decompress((STORED / name).read_bytes()))
    return path


def columns(path):
    """The columns of every table."""
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for (table,) in tables
            if not table.startswith(("sqlite_", "alembic"))
        }


def rows(path, columns_of):
    """Every row of these columns of tables, DBOS's own among them."""
    with closing(sqlite3.connect(path)) as database:
        return {
            table: sorted(map(str, database.execute(f"SELECT {', '.join(names)} FROM {table}")))
            for table, names in columns_of.items()
        }


def test_an_old_database_is_upgraded_and_used(run, tmp_path):
    path = unpacked("database.sqlite.gz", tmp_path / "home" / "subnet-search.sqlite")
    were = columns(path)
    before = rows(path, were)
    found = run("searches")
    assert sorted(search["status"] for search in found) == ["queued", "succeeded", "succeeded"]
    assert {OLDER, DEVICE} <= {device["name"] for device in run("devices", "list")}
    assert [key["owner"] for key in run("keys", "list")] == ["somebody"]
    after = rows(path, were)
    kept = ("searches", "profiles", "events", "api_keys", "device_tables", "audit")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_an_old_backup_is_restored_and_comes_out_the_same(run, tmp_path):
    path = unpacked("backup.tar.gz", tmp_path / "old.tar")
    assert run("restore", path)["searches"] == 3
    succeeded = [search for search in run("searches") if search["status"] == "succeeded"]
    for search in succeeded:
        answer = run("download", search["id"], "-o", tmp_path / "model.onnx")
        assert answer["sha256"] == search["result"]["sha256"]
        content = (tmp_path / "model.onnx").read_bytes()
        assert hashlib.sha256(content).hexdigest() == answer["sha256"]
    run("backup", tmp_path / "new.tar")
    before, after = members(path), members(tmp_path / "new.tar")
    made = [json.loads(found.pop("backup.json"))["schema"] for found in (before, after)]
    assert made == ["0007_searches_of_a_device", head()]
    assert {name: after[name] for name in before} == before


@pytest.fixture
def old_home(run, tmp_path, monkeypatch):
    """A home with a trained supernet, a device, a stored front, and a training that was killed."""
    with tarfile.open(STORED / "home.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_supernet_and_the_file_of_an_old_home_are_used(run, old_home):
    names = {supernet["name"]: supernet for supernet in run("supernets", "list")}
    assert all(names["grown"]["capabilities"].values())
    found = json.loads((old_home / "found.json").read_text())
    (old_home / "arch.json").write_text(json.dumps(found["arch"]))
    asked = ("--supernet", "grown", "--device", "old-phone")
    (same,) = run("predict", *asked, "--archs", "arch.json")
    assert same["top1"] == pytest.approx(found["top1"], abs=1e-6)
    assert same["latency_ms"] == pytest.approx(found["latency_ms"], rel=1e-9)
    assert run("search", *asked)["top1"] >= found["top1"] - 1e-6
    points = run("front", *asked)["points"]
    assert points[-1]["top1"] >= found["top1"] - 1e-6
    checks = {check["name"]: check["passed"] for check in run("verify", "net.onnx")["checks"]}
    assert {name for name, passed in checks.items() if passed} >= {"parity", "structure", "top1"}
    run("export", "--supernet", "grown", "--arch", "arch.json", "-o", "again.onnx")
    before, after = (logits(old_home / name) for name in ("net.onnx", "again.onnx"))
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.slow
def test_a_training_that_an_old_version_began_is_finished(run, old_home):
    write_photos(old_home / "photos")
    done = run("supernets", "train", "stopped.toml", "--resume", "--no-predictor")
    names = {supernet["name"]: supernet for supernet in run("supernets", "list")}
    assert names["stopped"]["capabilities"]["deliver"], done


def logits(path):
    """What a file computes of an image of its size."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    pixels = np.random.default_rng(0).normal(size=(1, *image.shape[1:])).astype(np.float32)
    return session.run(None, {image.name: pixels})[0]


def members(path):
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        read: dict[str, object] = {name: file and file.read() for name, file in files.items()}
    lines = str(read["searches.jsonl"], "utf-8").splitlines()  # type: ignore[call-overload]
    # A later column.
    read["searches.jsonl"] = [{"tries": 0, **json.loads(line)} for line in lines]
    return read

"""A database and a backup of 600789d are taken up as they are (stored/, see PROVENANCE.md)."""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.storage.database import head

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


def members(path):
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        read: dict[str, object] = {name: file and file.read() for name, file in files.items()}
    lines = str(read["searches.jsonl"], "utf-8").splitlines()  # type: ignore[call-overload]
    # A later column.
    read["searches.jsonl"] = [{"tries": 0, **json.loads(line)} for line in lines]
    return read

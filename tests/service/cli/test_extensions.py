"""Every command and worker imports the files that `SUBNET_EXTENSIONS` names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs.worker_processes import Workers
from service.settings import Settings
from tests.processes import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
LIMIT = """
from search.costs import Limit, register_limit
register_limit(
    Limit(
        name="wishes", unit="", label="Wishes", description="Wishes.", help="Budget of wishes.",
        origin="exact", is_integer=True, make_cost=lambda inputs: inputs.latency,
    )
)
"""


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "service", *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.slow
def test_a_file_adds_an_option(tmp_path):
    (tmp_path / "wishes.py").write_text(LIMIT)
    found = run("search", "--help", SUBNET_EXTENSIONS=f" json,{tmp_path / 'wishes.py'}")
    assert "--max-wishes" in found.stdout
    assert "Budget of wishes." in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nothing_like_it", "nothing_l"),
    ],
)
def test_one_that_cannot_be_imported_is_named(tmp_path, content, words):
    path = tmp_path / "broken.py"
    if content is not None:
        path.write_text(content)
    found = run("devices", "list", SUBNET_EXTENSIONS=str(path))
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: SUBNET_EXTENSIONS: cannot import {str(path)!r}")
    assert words in found.stderr
    assert "Traceback" not in found.stderr


def test_workers_of_a_server_get_the_setting(monkeypatch):
    started = []

    class Started(subprocess.Popen[bytes]):
        def __init__(self, *args, env, **options):
            started.append(env["SUBNET_EXTENSIONS"])
            super().__init__([sys.executable, "-c", ""], env=env, **options)

    monkeypatch.setattr(subprocess, "Popen", Started)
    workers = Workers()
    workers.start(Settings(workers=1, extensions="wishes.py"))
    workers.stop(5)
    assert set(started) == {"wishes.py"}

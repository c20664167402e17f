"""A little of what tests/stress/fuzz_devices.py does at length; and what scripts need."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

import pytest

from service.settings import Settings
from tests.service.serving import serving
from tests.stress import full_disk, fuzz_api, fuzz_devices, kill_storm, needs, shared_work


@pytest.mark.slow
def test_device_uploads_are_kept_or_refused(home):
    with serving(Settings(home=home, workers=0)) as url:
        target = fuzz_devices.Target(url, home)
        fuzz_devices.fuzz(target, 100, 0)
        target.http.close()
    assert set(target.statuses) >= {201, 422}


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        (fuzz_api.main, (), "needs schemathesis, of the extra `stress`: pip install"),
        (kill_storm.main, ("postgresql",), "apt-get install postgresql"),
        (shared_work.main, (), "apt-get install postgresql"),
        (full_disk.main, (), "needs root"),
    ],
)
def test_a_script_without_its_need_says_so(script, arguments, words, monkeypatch, tmp_path, capsys):
    find = importlib.util.find_spec
    hidden = lambda name: None if name == "schemathesis" else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(needs, "DEBIAN", tmp_path)
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    with pytest.raises(SystemExit) as caught:
        script()
    (line,) = capsys.readouterr().err.splitlines()
    assert (caught.value.code, line[:6], words in line) == (2, "error:", True), line

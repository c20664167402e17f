"""Where stderr is no terminal, work that takes long says so in lines."""

from __future__ import annotations

import re
import threading
import time

from service.cli.output import progress
from tests.processes import PATIENCE_S


def test_lines_come_also_while_nothing_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.01)
    monkeypatch.setattr(progress, "NEXT_LINE_S", 0.01)
    before, lines = threading.active_count(), list[str]()
    with progress.progress_bar("counting") as show_share:
        show_share(0.25, "sheep")
        show_share(0.2, "goats")
        deadline = time.monotonic() + PATIENCE_S
        while len(lines) < 3 or not lines[-1].startswith("counting goats: 25% after "):
            assert time.monotonic() < deadline
            lines += capsys.readouterr().err.splitlines()
    expected = re.compile(r"counting( sheep| goats)?: (0|25)% after \d s(, about \d s left)?")
    assert all(expected.fullmatch(line) for line in lines), lines
    assert threading.active_count() <= before, "it ends with the work"


def test_what_is_quick_prints_nothing(capsys):
    with progress.progress_bar("counting") as show_share:
        show_share(1.0)
    assert capsys.readouterr().err == ""

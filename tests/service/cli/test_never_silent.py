"""No command is silent for over two seconds: those that take long have a bar, all others a net."""

from __future__ import annotations

import ast
import inspect
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import service.cli
from service.cli import TELL_THEMSELVES, app, command_words
from service.cli.output import progress
from tests.processes import PATIENCE_S

QUICK = {
    *("keys create", "keys list", "keys revoke", "keygen", "audit", "ledger", "predict"),
    *("supernets list", "supernets show", "supernets remove"),
    *("devices list", "devices show", "devices lint", "devices keys", "devices remove"),
    *("networks list", "networks remove", "runtimes list", "searches", "compare"),
}
"""They read or write a few rows or files, and take moments."""
NO_SHARE = {
    *("backup", "restore", "gc", "verify", "supernets export-checkpoint", "devices fit"),
}
"""They may take seconds, of which no share is known: the net says that they are under way."""
BAR = {"progress_bar", "TrainingDisplay"}
"""What tells how much of the work is done, with a test of its own each."""


def commands(group: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command of the surface, by its words."""
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, *names, name)
    else:
        yield " ".join(names), group


ROOT = typer.main.get_command(app)
ALL = dict(commands(ROOT))


def modules_of(callback) -> list[Path]:
    """The module of a command, and those of this room that it imports functions from."""
    function = inspect.unwrap(callback)
    path = Path(inspect.getfile(getattr(function, "_command", function)))
    root = Path(inspect.getfile(service.cli)).parents[2]
    imported = [
        root / f"{(node.module or '').replace('.', '/')}.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("service.cli.")
    ]
    return [path, *(each for each in imported if each.is_file() and each.parent == path.parent)]


def test_every_command_says_how_it_tells_what_it_does():
    """A new command is quick, has a bar, tells itself, or is listed as one without a share."""
    sorts = (QUICK, NO_SHARE, set(TELL_THEMSELVES))
    with_bar = ALL.keys() - set.union(*sorts)
    assert not set.union(*sorts) - ALL.keys(), "commands that are no more"
    assert sum(map(len, sorts)) == len(set.union(*sorts))
    without = {
        name
        for name in with_bar
        if not any(BAR & names_in(path) for path in modules_of(ALL[name].callback))
    }
    assert not without, "neither quick nor with a bar"


def names_in(path: Path) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("words", sorted(ALL.keys() - TELL_THEMSELVES))
def test_no_command_is_silent(words, monkeypatch):
    """Each hangs before it says anything, until the net has said that it is under way."""
    told = threading.Event()

    class Stderr:
        """Sees the line."""

        def write(self, text: str) -> None:
            if text.startswith(f"{words}: under way for "):
                told.set()

        def flush(self) -> None:
            """Nothing waits."""

    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.01)
    monkeypatch.setattr(sys, "argv", ["subnet-search", *words.split(), "--json"])
    monkeypatch.setattr(sys, "stderr", Stderr())
    monkeypatch.setattr(service.cli, "load_extensions", lambda: told.wait(PATIENCE_S))
    monkeypatch.setattr(service.cli, "app", Ended())
    service.cli.main()
    assert told.is_set()


class Ended:
    """The commands, each of which ends at once."""

    registered_groups = app.registered_groups

    def __call__(self, **options):
        """Do nothing."""


def test_the_words_of_a_command_are_found():
    for words in ALL:
        assert command_words([*words.split(), "--json", "X"]) == words
        assert command_words([*words.split(), "NAME"]) == words
    assert command_words([]) == ""


def test_the_net_is_silent_while_a_bar_tells(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.01)
    monkeypatch.setattr(progress, "NEXT_LINE_S", 0.01)
    before, lines = threading.active_count(), list[str]()
    with progress.progress_bar("searching"), progress.never_silent("search"):
        deadline = time.monotonic() + PATIENCE_S
        while len(lines) < 3:
            assert time.monotonic() < deadline
            lines += capsys.readouterr().err.splitlines()
    assert all(line.startswith("searching: ") for line in lines), lines
    assert threading.active_count() <= before


def interrupted(*args, **options):
    """Ctrl-C, in the middle of the work."""
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("words", sorted(ALL))
def test_ctrl_c_ends_every_command_with_a_sentence(words, monkeypatch, capsys):
    monkeypatch.setattr(ALL[words], "callback", interrupted)
    monkeypatch.setattr(ALL[words], "parse_args", lambda context, given: given)
    assert ROOT.main(words.split(), standalone_mode=False) == 130
    assert re.fullmatch(r"stopped: .+\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "place", "words"),
    [
        (("gc",), "service.storage.ArtifactStore.collect", "the same command starts anew"),
        (
            ("supernets", "collect", "fashion-mbv3"),
            "service.catalog.supernets.measure_subnets",
            "subnets measured so far are kept; the same command goes on",
        ),
        (
            ("devices", "measure", "host", "--supernet", "debug-net"),
            "latency_tables.benchmark.measure_space",
            "finished rounds are kept; the same command with --resume goes on",
        ),
        (
            ("supernets", "fit-predictor", "fashion-mbv3"),
            "service.catalog.supernets.fit_predictor",
            "networks measured so far are kept, and the same command measures only others",
        ),
        (
            ("supernets", "compare", "fashion-mbv3"),
            "service.catalog.supernets.measure_sharing_gap",
            "finished networks are kept; the same command goes on",
        ),
    ],
)
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(run, monkeypatch, command, place, words):
    monkeypatch.setattr(place, interrupted)
    result = CliRunner().invoke(app, list(command))
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1].startswith("stopped: ")
    assert words in result.stderr

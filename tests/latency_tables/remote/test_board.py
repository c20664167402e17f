"""Measuring over SSH against a real server: what breaks comes back, and nothing runs twice."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from latency_tables.benchmark.kit import build_kit
from latency_tables.benchmark.rounds import MeasureOptions
from latency_tables.remote import agent, line
from latency_tables.remote.board import Board, modules_needed
from latency_tables.remote.line import check_host
from latency_tables.runtimes import find_runtime, register_runtime, unregister_runtime
from latency_tables.runtimes.runtime import runtime_source
from models.errors import InputError, SubnetSearchError
from tests.gated_runtime import RUNTIME
from tests.spaces import DEBUG
from tests.sshd import HOST

OPTIONS = MeasureOptions(runtime=RUNTIME.name, networks=3)


@pytest.fixture(scope="module")
def kit():
    register_runtime(RUNTIME)
    yield build_kit(DEBUG.at([8]), OPTIONS)
    unregister_runtime(RUNTIME.name)


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "it's a gate; $(touch x) é"


@pytest.fixture
def board(ssh_server, gate):
    """Makes boards; what they say is in `board.said`."""

    said: list[str] = []

    def make(**changes: Any) -> Board:
        fields = {
            "name": "my-board",
            "arguments": ["--threads=1", f"--provider={gate}"],
            "seconds": 0,
            "say": said.append,
            "waits_s": (0, 0, 0),
        }
        return Board(HOST, sys.executable, **{**fields, **changes})

    make.said = said  # type: ignore[attr-defined]
    return make


def kits_folder(server):
    return server.home / ".cache" / "subnet-search" / "kits"


def left_there(server):
    """Files that measuring has left."""
    return list((server.home / ".cache").rglob("*")) if (server.home / ".cache").exists() else []


def without_time(content):
    profile = json.loads(content)
    del profile["conditions"]["measured_at"]
    return profile


def local_run(kit, folder, gate):
    """What the kit writes on this machine."""
    zipfile.ZipFile(BytesIO(kit)).extractall(folder)
    command = [sys.executable, folder / "measure.py", "my-board", f"--provider={gate}"]
    subprocess.run([*command, "--seconds=0"], cwd=folder, check=True, capture_output=True)
    return (folder / "my-board.json").read_bytes()


@pytest.mark.slow
def test_a_line_broken_twice_gives_the_file_of_a_kit_run_here(
    board, ssh_server, kit, gate, tmp_path
):
    """The measurement goes on while the line is down, and nothing is left."""
    events = []

    def watch(share, word):
        events.append((share, word))
        if len(events) in (1, 3):
            assert ssh_server.break_lines() >= 1
        elif len(events) == 5:
            gate.touch()

    content = board().measure(kit, on_progress=watch)
    assert without_time(content) == without_time(local_run(kit, tmp_path / "kit", gate))
    assert len(board.said) == 2, board.said
    assert all("line broke" in text and "next try in 0 s" in text for text in board.said)
    assert [share for share, _ in events] == sorted(share for share, _ in events)
    board().remove(kit)
    assert left_there(ssh_server) == []


@pytest.mark.slow
def test_a_line_that_says_nothing_any_more_is_broken(board, ssh_server, kit, gate, monkeypatch):
    """As one is that a network swallows: no end of it is told."""
    monkeypatch.setattr(line, "SILENT_S", 2.0)
    asleep: list[int] = []

    def watch(share, word):
        if not asleep:
            asleep.append(ssh_server.break_lines(signal.SIGSTOP))
        gate.touch()

    assert board(waits_s=(0,) * 20).measure(kit, on_progress=watch)
    assert "the line broke (nothing came any more)" in board.said[0]
    ssh_server.break_lines()


@pytest.mark.slow
def test_it_gives_up_after_so_many_tries_and_another_command_takes_it_up(
    board, ssh_server, kit, gate
):
    with pytest.raises(SubnetSearchError, match="gave up.*--resume takes it up"):
        board().measure(kit, on_progress=lambda *_: ssh_server.break_lines())
    assert len(board.said) == 3
    with pytest.raises(InputError, match="under way there or was stopped: go on with --resume"):
        board().measure(kit)
    with pytest.raises(InputError, match="another measurement is under way"):
        board(name="other").measure(kit, resume=True)
    with pytest.raises(SubnetSearchError, match="another measurement is under way"):
        board(name="other").remove(kit)
    gate.touch()
    assert json.loads(board().measure(kit, resume=True))["name"] == "my-board"
    # The kit is there: another run of it has nothing to copy.
    before = (kits_folder(ssh_server) / hashlib.sha256(kit).hexdigest()).stat().st_ino
    assert json.loads(board(name="other").measure(kit))["name"] == "other"
    assert (kits_folder(ssh_server) / hashlib.sha256(kit).hexdigest()).stat().st_ino == before
    board(name="other").remove(kit)
    assert left_there(ssh_server)
    board().remove(kit)
    assert left_there(ssh_server) == []


@pytest.mark.slow
def test_a_stopped_or_killed_measurement_is_started_anew(board, ssh_server, kit, gate):
    killed: list[int] = []

    def watch(share, word):
        holder = json.loads((kits_folder(ssh_server) / "lock").read_text())
        if holder["detached"] and not killed:
            killed.append(holder["pid"])
            os.killpg(holder["pid"], signal.SIGKILL)
        elif board.said and not is_stopping:
            is_stopping.append(True)
            other.start()

    is_stopping: list[bool] = []
    other = Thread(target=lambda: board().stop(kit))
    with pytest.raises(InputError, match="was stopped: go on with --resume"):
        board().measure(kit, on_progress=watch)
    other.join()
    assert "somebody stopped the measurement" in board.said[0]
    gate.touch()
    assert board().measure(kit, resume=True)


@pytest.mark.slow
def test_a_kit_is_copied_from_where_the_last_line_broke(board, ssh_server, kit, gate):
    gate.touch()
    part = kits_folder(ssh_server) / f"{hashlib.sha256(kit).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(kit[: len(kit) // 2])
    assert board().measure(kit)
    assert board.said == []
    board().remove(kit)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" + kit[1 : len(kit) // 2])
    assert board().measure(kit)
    assert ["the kit arrived damaged" in text for text in board.said] == [True]


def test_what_the_measurement_says_at_a_failure_is_told(board, kit):
    with pytest.raises(InputError, match=r"exit code 2: .*expected the path of a gate"):
        board(arguments=[]).measure(kit)


def script(folder, text):
    path = folder / "a python; with 'odd' name"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('exec {python} "$@"', None, "1"),
        ('exec {python} -S "$@"', InputError, "lacks numpy: install with `ssh board .* -m pip"),
        ("exit 127", InputError, "found no .*: install Python 3.9"),
        (
            "exec {python} -c 'import sys; sys.version_info = (3, 6); exec(sys.argv[-1])' \"$@\"",
            InputError,
            "expected Python 3.9 or newer, .* is 3.6",
        ),
        ("echo strange >&2", SubnetSearchError, "no connection: strange"),
    ],
    ids=["quoted", "without packages", "none", "old", "strange"],
)
def test_python_and_its_packages_are_checked_first(ssh_server, tmp_path, gate, text, error, words):
    python = script(tmp_path, text.format(python=sys.executable))
    board = Board(HOST, python, name="x", arguments=[], seconds=0)
    if error is None:
        assert board.check(RUNTIME, str(gate), 1) == words
        with pytest.raises(InputError, match="provider: expected the path of a gate"):
            board.check(RUNTIME, None, 1)
    else:
        with pytest.raises(error, match=words):
            board.check(RUNTIME, str(gate), 1)
    assert left_there(ssh_server) == []


@pytest.mark.parametrize(
    ("trusted", "identity", "words"),
    [
        (None, "key", "not known here. Connect once by hand, `ssh -- board`"),
        ("other", "key", "another machine answers.*ssh-keygen -R board"),
        ("host", "other", "Permission denied.*ssh-copy-id board"),
    ],
)
def test_what_ssh_refuses_is_told_with_what_to_do(ssh_server, trusted, identity, words):
    ssh_server.trust(trusted)
    ssh_server.identify(identity)
    board = Board(HOST, sys.executable, name="x", arguments=[], seconds=0)
    with pytest.raises(InputError, match=words):
        board.check(RUNTIME, "gate", 1)


def test_a_host_that_does_not_answer_is_told(ssh_server):
    board = Board("ssh://127.0.0.1:1", sys.executable, name="x", arguments=[], seconds=0)
    with pytest.raises(SubnetSearchError, match=r"no connection: .*Connection refused"):
        board.check(RUNTIME, "gate", 1)


def test_an_installation_without_ssh_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="apt-get install openssh-client"):
        Board(HOST, "python3", name="x", arguments=[], seconds=0).check(RUNTIME, "gate", 1)


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=x", "a@-b", "-a@b", "a b", "a\nb", "ssh://-x", "@b", "é"]
)
def test_what_cannot_be_a_host_is_refused(host):
    with pytest.raises(InputError, match="--ssh: expected USER@HOST"):
        check_host(host)


def test_what_a_runtime_needs_there_is_read_from_its_file():
    assert modules_needed(runtime_source(find_runtime("onnxruntime"))) == {"numpy", "onnxruntime"}
    assert modules_needed(runtime_source(RUNTIME)) == set()  # `convert` makes the kit


def test_the_agent_is_python_3_9_and_the_standard_library_alone():
    tree = ast.parse(Path(agent.__file__).read_text(), feature_version=(3, 9))
    assert modules_needed(ast.unparse(tree).encode()) == set()


def test_the_home_there_is_not_ours(ssh_server):
    board = Board(HOST, "~/my python", name="x", arguments=[], seconds=0)
    python = ssh_server.home / "my python"  # a link would lose the environment of a venv
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    assert board.check(RUNTIME, "gate", 1) == "1"

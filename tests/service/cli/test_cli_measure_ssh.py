"""`devices measure --ssh`: the table of a kit run there, Ctrl-C and --resume."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from latency_tables.runtimes import register_runtime, unregister_runtime
from service.cli import app as cli
from service.cli.devices import remote
from tests.gated_runtime import RUNTIME
from tests.service.conftest import SUPERNET
from tests.sshd import HOST


@pytest.fixture
def gate(tmp_path):
    register_runtime(RUNTIME)
    yield tmp_path / "gate"
    unregister_runtime(RUNTIME.name)


@pytest.fixture
def command(gate):
    what = ("--supernet", SUPERNET, "--resolution", 8, "--networks", 4, "--target-s", 0)
    how = ("--ssh", HOST, "--python", sys.executable, "--runtime", RUNTIME.name, "--threads", 2)
    return ("devices", "measure", "my-board", *what, *how, "--provider", gate, "--power-w", 4)


@pytest.mark.slow
def test_ctrl_c_stops_it_there_and_resume_goes_on(run, run_json, ssh_server, command, gate):
    said: list[str] = []

    def interrupted(share, word=""):
        if share > 0:
            raise KeyboardInterrupt

    @contextmanager
    def bar(title):
        yield interrupted if title.endswith(f"on {HOST}") else lambda *_: None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "progress_bar", bar)
        patch.setattr(remote, "_say", said.append)
        stopped = CliRunner().invoke(cli, [str(word) for word in command])
    assert stopped.exit_code in (1, 130), stopped.output
    assert said[-2:] == [
        "stopping the measurement there",
        "stopped: the same command with --resume goes on",
    ]
    kits = ssh_server.home / ".cache" / "subnet-search" / "kits"
    assert "go on with --resume" in run(*command, code=2).stderr
    gate.touch()
    device = run_json(*command, "--resume")
    (table,) = device["tables"]
    assert (table["origin"], table["conditions"]["threads"]) == ("measured", 2)
    assert (table["conditions"]["power_w"], table["conditions"]["runtime"]) == (4, RUNTIME.name)
    assert not kits.parent.exists()
    assert "device 'my-board' has a table for space" in run(*command, code=2).stderr


def test_what_ssh_cannot_do_is_said_before_it_connects(run, command):
    assert "--sittings: expected 1 with --ssh" in run(*command, "--sittings", 3, code=2).stderr
    refused = run(*command, "--ssh", "-oProxyCommand=touch x", code=2)
    assert "--ssh: expected USER@HOST" in refused.stderr

"""The service as a process of its own, on a port that the system chose for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 300
POLL_S = 0.02
SERVING = re.compile(r"^serving on (http://\S+)", re.MULTILINE)


@contextmanager
def process(home: Path, *args: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`subnet-search ARGS` on this home, killed afterwards; `log_of` is where it writes."""
    home.mkdir(parents=True, exist_ok=True)
    # A file: a pipe that nobody reads fills up, and its writer waits.
    with log_of(home, args[0]).open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "service", *args],
            cwd=ROOT,
            env={**os.environ, "SUBNET_HOME": str(home), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextmanager
def installed_server(
    command: Path, folder: Path, variables: Mapping[str, str], log: Path
) -> Iterator[str]:
    """The URL of a service that an installed `subnet-search` serves, started in `folder`."""
    with log.open("w") as out:
        serving = subprocess.Popen(
            [command, "serve", "--port", "0"], cwd=folder, env=variables, stdout=out, stderr=out
        )
    try:
        yield serving_url(serving, log)
    finally:
        serving.terminate()
        serving.wait()


def serving_url(running: subprocess.Popen[bytes], log: Path, earlier: int = 0) -> str:
    """The URL that a server prints to its log, behind the first `earlier` bytes, once it serves."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := SERVING.search(log.read_bytes()[earlier:].decode())) is None:
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(POLL_S)
    return found[1]


@contextmanager
def server(
    home: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A server process that answers, and a client of it; asked to end afterwards."""
    log = log_of(home, "serve")
    earlier = log.stat().st_size if log.exists() else 0
    with process(home, "serve", "--port", "0", **environment) as running:
        url = serving_url(running, log, earlier)
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            yield running, client
        if running.poll() is None:
            running.terminate()
            assert running.wait(PATIENCE_S) in (0, -signal.SIGTERM)


def log_of(home: Path, command: str) -> Path:
    """What a process of that command has printed."""
    return home / f"{command}.log"

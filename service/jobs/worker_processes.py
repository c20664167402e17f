"""The worker processes of `serve`: started with it, started again when they die, ended with it.

Searching is arithmetic by the minute, and Python threads take turns: in a process of its own it
never keeps a request waiting.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from threading import Event, Thread

import structlog

from service.settings import Settings

STEADY_S = 60.0
"""A worker that lived that long starts again at once."""
LONGEST_PAUSE_S = 30.0
KILL_AFTER_S = 5.0
"""How much longer than `shutdown_s` a worker may take to end."""

log = structlog.get_logger(__name__)


class Workers:
    """Some worker processes, none at first."""

    def __init__(self) -> None:
        self._stop = Event()
        self._kept: list[_Kept] = []

    def start(self, settings: Settings) -> None:
        """Start as many as `settings` say."""
        self._kept += [_Kept(settings, self._stop, n) for n in range(settings.workers)]

    @property
    def alive(self) -> bool:
        """Whether each of them runs, or none was asked for."""
        return all(kept.alive for kept in self._kept)

    def stop(self, timeout_s: float) -> None:
        """Have them finish or put back what they have; end those that take longer."""
        self._stop.set()
        deadline = time.monotonic() + timeout_s + KILL_AFTER_S
        for kept in self._kept:
            kept.join(deadline)


class _Kept:
    """One place for a worker, and the thread that keeps it filled."""

    def __init__(self, settings: Settings, stop: Event, number: int) -> None:
        self._settings, self._stop = settings, stop
        self._process = self._spawn()
        self._thread = Thread(target=self._keep, name=f"worker-{number}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _spawn(self) -> subprocess.Popen[bytes]:
        # It ends when its stdin does, which is also how it learns that we were killed.
        return subprocess.Popen(
            [sys.executable, "-m", "service", "worker", "--until-stdin-ends"],
            stdin=subprocess.PIPE,
            env={**os.environ, **self._settings.environment()},
        )

    def _keep(self) -> None:
        pause_s = 0.5
        while True:
            started = time.monotonic()
            while self.alive:
                if self._stop.wait(0.2):
                    return
            if time.monotonic() - started > STEADY_S:
                pause_s = 0.5
            log.error("worker_died", status=self._process.returncode, again_in_s=pause_s)
            if self._stop.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._process = self._spawn()

    def join(self, deadline: float) -> None:
        self._thread.join()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("worker_killed", pid=self._process.pid)
            self._process.kill()
            self._process.wait()

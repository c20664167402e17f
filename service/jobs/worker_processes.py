"""The worker processes of `serve`: started and stopped with it, and restarted when they die.

A search computes for seconds to minutes. In a thread it would keep requests waiting for Python's
global lock.
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
"""A worker that lived this long is restarted after the shortest pause."""
MIN_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
COMMAND = __name__.removesuffix(".jobs.worker_processes")
"""The package whose `__main__` is the command."""
KILL_AFTER_S = 5.0
"""How much longer than `shutdown_s` a worker may take before it is killed."""

log = structlog.get_logger(__name__)


class Workers:
    """The worker processes of one service; none before `start`."""

    def __init__(self) -> None:
        self._stop = Event()
        self._supervisors: list[_Supervisor] = []

    def start(self, settings: Settings) -> None:
        """Start `settings.workers` processes."""
        self._supervisors += [_Supervisor(settings, self._stop, n) for n in range(settings.workers)]

    def stop(self, timeout_s: float) -> None:
        """Stop them: each finishes its run or puts it back, or is killed if it takes longer."""
        self._stop.set()
        deadline = time.monotonic() + timeout_s + KILL_AFTER_S
        for supervisor in self._supervisors:
            supervisor.join(deadline)


class _Supervisor:
    """One worker process, and the thread that restarts it."""

    def __init__(self, settings: Settings, stop: Event, number: int) -> None:
        self._settings, self._stop = settings, stop
        self._process = self._spawn()
        self._thread = Thread(target=self._supervise, name=f"worker-{number}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _spawn(self) -> subprocess.Popen[bytes]:
        # A worker stops when its stdin ends, which it also does when this process is killed.
        return subprocess.Popen(
            [sys.executable, "-m", COMMAND, "worker", "--until-stdin-ends"],
            stdin=subprocess.PIPE,
            env={**os.environ, **self._settings.environment()},
        )

    def _supervise(self) -> None:
        pause_s = MIN_PAUSE_S
        while True:
            started = time.monotonic()
            while self.alive:
                if self._stop.wait(0.2):
                    return
            if time.monotonic() - started > STEADY_S:
                pause_s = MIN_PAUSE_S
            log.error("worker_died", status=self._process.returncode, again_in_s=pause_s)
            if self._stop.wait(pause_s):
                return
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
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

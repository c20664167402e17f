"""The processes that work on searches: who lives, and who takes over from those who died.

DBOS recovers the runs of a process that comes back under its own name, and ours never do. So each
has a row in the database that it beats in; whoever sees another's beat stand still for
`dead_after_s` of its own time gives that one's runs back to the queue. A process of the same
machine is known to be dead as soon as it is.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from service.jobs.queue import FINISHED, Durable
from service.storage import ExecutorStore, RunStore

SWEPT = 1000
"""Searches looked at in one sweep."""
KEPT_S = 3600.0
"""How long DBOS's own notes of a run that ended are kept."""

log = structlog.get_logger(__name__)


@dataclass
class _Seen:
    beats: int
    since_s: float


class Undertaker:
    """One executor's view of the others, and what it does about the dead."""

    def __init__(
        self,
        executor: str,
        executors: ExecutorStore,
        runs: RunStore,
        durable: Durable,
        *,
        dead_after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.executor, self.executors, self.runs, self.durable = executor, executors, runs, durable
        self.dead_after_s, self._clock = dead_after_s, clock
        self._seen: dict[str, _Seen] = {}
        self._looked_s = clock()
        self._stray: set[str] = set()

    def look_around(self) -> None:
        """Bury whoever is dead.

        A view that was interrupted, such as by a database that was gone for everybody, starts
        anew: nobody is held dead for a time that was not watched.
        """
        others = self.executors.all()
        others.pop(self.executor, None)
        now = self._clock()
        if now - self._looked_s > self.dead_after_s / 2:
            self._seen.clear()
        self._looked_s = now
        for executor, beats in others.items():
            seen = self._seen.get(executor)
            if seen is None or seen.beats != beats:
                seen = self._seen[executor] = _Seen(beats, now)
            if is_gone(executor) or now - seen.since_s > self.dead_after_s:
                self.bury(executor, beats)

    def bury(self, executor: str, beats: int) -> None:
        """Give back what a dead executor had, unless another does that already."""
        if not self.executors.claim(executor, beats):
            return
        count = self.give_back(executor, forgive=False)
        self.executors.remove(executor)
        log.warning("took_over", executor=executor, runs=count)

    def give_back(self, executor: str, *, forgive: bool) -> int:
        """Put back all that an executor has; returns how many runs."""
        self.runs.release(executor, forgive=forgive)
        runs = self.durable.taken_by(executor)
        self.durable.put_back(runs)
        return len(runs)

    def sweep(
        self, at_work: Collection[str], others: Mapping[str, Callable[[], bool]] | None = None
    ) -> None:
        """See to it that every unfinished search will be worked on, whatever happened to it.

        Runs that DBOS does not know, or has given up, are started anew; so are those that came
        from a backup or from before DBOS. Runs of nobody known are put under watch.

        Args:
            at_work: runs that this process is at.
            others: further unfinished runs, and how each is started anew.
        """
        searches = self.runs.unfinished(SWEPT)
        unfinished: dict[str, Callable[[], bool]] = {
            search.workflow_id: partial(self.runs.rerun, search) for search in searches
        }
        unfinished.update(others or {})
        states = self.durable.states(list(unfinished))
        known = self.executors.all()
        stray = set()
        for workflow_id, rerun in unfinished.items():
            state = states.get(workflow_id)
            if state is None or state.status in FINISHED:
                if rerun():
                    log.warning("run_anew", run=workflow_id, was=state and state.status)
            elif state.status == "PENDING" and state.executor_id == self.executor:
                if workflow_id not in at_work:
                    stray.add(workflow_id)
            elif state.status == "PENDING" and state.executor_id not in known:
                self.executors.watch(str(state.executor_id))
        # Seen twice: a run that was just taken from the queue may not have begun.
        self.durable.put_back(stray & self._stray)
        self._stray = stray - self._stray

    def tidy(self) -> list[str]:
        """Delete what DBOS keeps of runs that ended long ago; returns them."""
        before = datetime.now(UTC) - timedelta(seconds=KEPT_S)
        return self.durable.forget(before.isoformat())


def new_executor() -> str:
    """A name for this process, by which others on its machine can tell whether it still lives."""
    return f"{_machine()}/{os.getpid()}/{uuid.uuid4().hex}"


def is_gone(executor: str) -> bool:
    """Whether an executor was a process of this machine that has ended."""
    machine, _, rest = executor.rpartition("/")[0].rpartition("/")
    if machine != _machine() or not rest.isdigit():
        return False
    if int(rest) == os.getpid():
        return True  # somebody had this number before: we are asked of others only
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _machine() -> str:
    """Where process numbers mean the same: two containers may have one host name."""
    try:
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}:{space}"

"""What happens when a worker dies: another worker puts its runs back into the queue.

1. Every worker is an executor with a row in the database, where it counts a heartbeat
   `HEARTBEATS_PER_DEAD_AFTER` times in `SUBNET_DEAD_AFTER_S` (`service.storage.executors`).
2. Every worker watches the heartbeats of the others (`check_others`). One is dead if its count has
   not changed for `dead_after_s` by the watcher's own clock, or for `MISSED_HEARTBEATS` if it was a
   process of the same machine that no longer exists (`service.jobs.identity`). Nobody whose
   heartbeats go on is taken for dead, whatever its name says.
3. The first worker that claims a dead one's row reclaims its runs (`reclaim`): they wait in the
   queue again, and whoever takes one continues after its last finished step.
4. A search that `SUBNET_MAX_ATTEMPTS` workers died on fails with `WorkerLost`
   (`service.jobs.worker`).
5. In addition every worker compares all unfinished searches with DBOS every few seconds (`sweep`)
   and starts anew what DBOS does not know.

DBOS itself recovers the runs of an executor only when one of the same name starts again; names of
ours are never used twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from service.jobs.identity import has_ended
from service.jobs.queue import FINISHED, Durable
from service.storage import ExecutorStore, RunStore

SWEEP_LIMIT = 1000
"""Searches, and webhooks, looked at in one sweep."""
HEARTBEATS_PER_DEAD_AFTER = 10
MISSED_HEARTBEATS = 2
"""After which a worker that is seen to have ended counts as dead."""
HISTORY_S = 3600.0
"""How long DBOS's records of a finished run are kept."""

log = structlog.get_logger(__name__)


@dataclass
class _Observed:
    heartbeats: int
    since_s: float


class WorkerRecovery:
    """One worker's watch over the others, and what it does for those that died."""

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
        self._observed: dict[str, _Observed] = {}
        self._checked_s = clock()
        self._strays: set[str] = set()

    @property
    def heartbeat_s(self) -> float:
        """Between two heartbeats."""
        return self.dead_after_s / HEARTBEATS_PER_DEAD_AFTER

    def check_others(self) -> None:
        """Reclaim the runs of every worker that is dead.

        If checks were interrupted, for example because the database was gone for everybody,
        observation starts anew: only time that was watched counts as silence.
        """
        others = self.executors.heartbeats()
        others.pop(self.executor, None)
        now = self._clock()
        if now - self._checked_s > self.dead_after_s / 2:
            self._observed.clear()
        self._checked_s = now
        for executor, heartbeats in others.items():
            observed = self._observed.get(executor)
            if observed is None or observed.heartbeats != heartbeats:
                observed = self._observed[executor] = _Observed(heartbeats, now)
            silent_s = now - observed.since_s
            if silent_s > self.dead_after_s or (
                silent_s >= MISSED_HEARTBEATS * self.heartbeat_s and has_ended(executor)
            ):
                self.reclaim(executor, heartbeats)

    def reclaim(self, executor: str, heartbeats: int) -> None:
        """Put the runs of a dead worker back into the queue, unless another worker does."""
        if not self.executors.claim(executor, heartbeats):
            return
        count = self.put_back(executor, count_attempt=True)
        self.executors.remove(executor)
        log.warning("took_over", executor=executor, runs=count)

    def put_back(self, executor: str, *, count_attempt: bool) -> int:
        """Put all runs of a worker back into the queue; returns their number.

        Args:
            count_attempt: whether each counts as an attempt that failed; not for a worker that was
                stopped.
        """
        self.runs.release(executor, count_attempt=count_attempt)
        runs = self.durable.taken_by(executor)
        self.durable.put_back(runs)
        return len(runs)

    def sweep(
        self, running: Collection[str], others: Mapping[str, Callable[[], bool]] | None = None
    ) -> None:
        """Ensure that every unfinished search will be worked on, whatever happened to its run.

        Runs that DBOS does not know or has given up, such as those of a restored backup, are
        started anew. Executors of running runs that have no row are added, to be watched.

        Args:
            running: workflow ids of the runs of this process.
            others: further unfinished workflows, and how to start each anew.
        """
        unfinished: dict[str, Callable[[], bool]] = {
            search.workflow_id: partial(self.runs.rerun, search)
            for search in self.runs.unfinished(SWEEP_LIMIT)
        }
        unfinished.update(others or {})
        states = self.durable.states(list(unfinished))
        known = self.executors.heartbeats()
        strays = set()
        for workflow_id, rerun in unfinished.items():
            state = states.get(workflow_id)
            if state is None or state.status in FINISHED:
                if rerun():
                    log.warning("run_anew", run=workflow_id, was=state and state.status)
            elif state.status == "PENDING" and state.executor_id == self.executor:
                if workflow_id not in running:
                    strays.add(workflow_id)
            elif state.status == "PENDING" and state.executor_id not in known:
                self.executors.add_unknown(str(state.executor_id))
        # Only strays of two sweeps in a row: a run just taken from the queue may not have begun.
        self.durable.put_back(strays & self._strays)
        self._strays = strays - self._strays

    def delete_history(self) -> list[str]:
        """Delete DBOS's records of runs that finished long ago; returns their workflow ids."""
        before = datetime.now(UTC) - timedelta(seconds=HISTORY_S)
        return self.durable.delete_finished(before.isoformat())

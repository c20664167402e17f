"""Work on searches: DBOS takes their runs from the queue, this does them, step by step.

A worker process does one run at a time. What a step found is noted in the database, so that a run
whose worker died goes on with the next step elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any, TypeVar

import structlog
from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy import Engine

from latency_tables.table import table_from_json
from models.errors import CorruptBundle, SubnetSearchError
from models.machine import cores, give_back_memory
from service.catalog import Catalog, DeploymentContext
from service.contracts import Search, StoreUnavailable, problem_of
from service.delivery import ModelBuilder, Unverified, deliver
from service.jobs.queue import SEARCHES, WEBHOOKS, Durable, configuration
from service.jobs.recovery import SWEPT, Undertaker, new_executor
from service.jobs.run_watch import Stopped, Watch
from service.jobs.webhook_sender import Courier
from service.settings import Settings
from service.storage import (
    MISSED,
    ArtifactStore,
    ArtifactUnwritable,
    ExecutorStore,
    RunStore,
    SearchStore,
    TallyStore,
    WebhookStore,
    answering,
    webhook_run,
)

SWEEP_EVERY_S = 10.0
STEP_ATTEMPTS, STEP_BACKOFF_S = 3, 0.5
"""Of a step that failed for want of storage, which may pass."""
OUTAGE_S = 600.0
"""How long a finished run waits for the database to come back before it is given up."""
HUNG_AFTER_S = 60.0
"""How long after its time a run that does not even report may go on."""
EXIT_HUNG = 70
PULSE_ENDS_S = 10.0
IDLE_S = 10.0
"""How long after a search the memory of its tensors is kept for the next one."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class WorkerLost(SubnetSearchError):
    """Workers kept dying on a search."""


class Failed(Exception):
    """A step that was found to fail, now or before; holds the problem document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


class Worker:
    """Does the runs of searches, one at a time."""

    def __init__(
        self,
        engine: Engine,
        durable: Durable,
        catalog: Catalog,
        artifacts: ArtifactStore,
        settings: Settings,
    ) -> None:
        self.engine, self.durable = engine, durable
        self.catalog, self.artifacts, self.settings = catalog, artifacts, settings
        self.store = SearchStore(engine)
        self.webhooks = WebhookStore(engine, durable.enqueue_webhook)
        self.runs = RunStore(engine, enqueue=durable.enqueue, ended=self.webhooks.ended)
        self.courier = Courier(self.webhooks, settings)
        self.executor = new_executor()
        self.executors, self.tallies = ExecutorStore(engine), TallyStore(engine)
        self.undertaker = Undertaker(
            self.executor, self.executors, self.runs, durable, dead_after_s=settings.dead_after_s
        )
        self.at_work: dict[str, Watch] = {}
        self.sending: set[str] = set()
        self.stopping, self.dropping = Event(), Event()
        self._builder: ModelBuilder | None = None
        self._ended_at: float | None = None
        self._threads = settings.threads or max(1, cores() // max(1, settings.workers))

    def run(self, stop: Event) -> None:
        """Work until `stop`, then finish the run at hand, or put it back if it takes longer than
        `shutdown_s`."""
        with self.working():
            stop.wait()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work in the background; there can be one such worker in a process."""
        self.executors.beat(self.executor)
        self.durable.open_queues(self.settings.poll_interval_s)
        DBOS(config=configuration(self.engine, self.executor))
        # A new function each time: DBOS keeps its notes on it.
        DBOS.workflow(name=SEARCHES)(lambda search_id, run: self.do(search_id, run))
        DBOS.workflow(name=WEBHOOKS)(lambda webhook_id, attempt: self.send(webhook_id, attempt))
        DBOS.launch()
        pulse = Thread(target=self._pulse, name="pulse", daemon=True)
        pulse.start()
        log.info("working", executor=self.executor)
        try:
            yield
        finally:
            self._stop(pulse)

    def _stop(self, pulse: Thread) -> None:
        self.stopping.set()
        deadline = time.monotonic() + self.settings.shutdown_s
        while (self.at_work or self.sending) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.dropping.set()
        while self.at_work and time.monotonic() < deadline + 1:
            time.sleep(0.02)
        DBOS.destroy(destroy_registry=True)
        pulse.join(PULSE_ENDS_S)
        try:
            count = self.undertaker.give_back(self.executor, forgive=True)
            self.executors.remove(self.executor)
            log.info("stopped", executor=self.executor, put_back=count)
        except StoreUnavailable as error:
            log.error("not_put_back", executor=self.executor, error=str(error))

    def _pulse(self) -> None:
        """Beat, look after the others, and see that nothing is forgotten; until we stop."""
        swept = -SWEEP_EVERY_S
        while True:
            try:
                self.executors.beat(self.executor)
                self.undertaker.look_around()
                if time.monotonic() - swept >= SWEEP_EVERY_S:
                    self._sweep()
                    for workflow_id in self.undertaker.tidy():
                        self._drafts(workflow_id).clear()
                    swept = time.monotonic()
            except StoreUnavailable as error:
                log.error("store_unavailable", error=str(error))
            except Exception:
                log.exception("pulse_missed")
            if self._ended_at and not self.at_work and time.monotonic() > self._ended_at + IDLE_S:
                self._ended_at = None
                give_back_memory()
            for watch in tuple(self.at_work.values()):
                if watch.overdue_s > HUNG_AFTER_S:
                    self._give_up_on(watch)
            if self.dropping.wait(self.settings.dead_after_s / 5):
                return

    def _sweep(self) -> None:
        unsent = self.webhooks.undelivered(SWEPT)
        self.undertaker.sweep(
            (*self.at_work, *self.sending),
            {w.workflow_id: partial(self.webhooks.again, w, None, 0.0) for w in unsent},
        )

    def _give_up_on(self, watch: Watch) -> None:
        """End a run that hangs, and this process with it: nothing else stops a thread."""
        log.critical("hung", search=watch.search.id)
        self.runs.fail(watch.search, self.executor, problem_of(watch.too_long()))
        os._exit(EXIT_HUNG)

    # -- one run -------------------------------------------------------------------------

    def do(self, search_id: str, run: int) -> str:
        """Bring a run to an end; returns the outcome's name.

        Raises:
            Stopped: if this worker stops before.
        """
        if self.stopping.is_set():
            raise Stopped
        search = self._patiently(lambda: self.runs.start(search_id, run, self.executor))
        if search is None:
            return "dropped"
        watch = Watch(self, search)
        self.at_work[search.workflow_id] = watch
        with structlog.contextvars.bound_contextvars(search=search.id, run=run):
            log.info("search_started", attempt=search.attempts)
            try:
                outcome = self._outcome(search, watch)
            except Stopped:
                if self.dropping.is_set():
                    log.info("search_put_back")
                    raise
                outcome = "dropped"
            finally:
                del self.at_work[search.workflow_id]
            self._drafts(search.workflow_id).clear()
            self._ended_at = time.monotonic()
            log.info("search_ended", outcome=outcome, seconds=round(watch.seconds, 3))
        return outcome

    def send(self, webhook_id: str, attempt: int) -> str:
        """Make one attempt to send a webhook; returns what became of it.

        Raises:
            Stopped: if this worker stops before.
        """
        if self.stopping.is_set():
            raise Stopped
        run = webhook_run(webhook_id, attempt)
        self.sending.add(run)
        try:
            return self.courier.send(webhook_id, attempt, self._patiently)
        finally:
            self.sending.discard(run)

    def _outcome(self, search: Search, watch: Watch) -> str:
        try:
            if search.attempts > self.settings.max_attempts:
                raise WorkerLost(
                    f"{search.attempts - 1} workers in turn died or fell silent on this search"
                )
            result = self._deliver(search, watch)
            if too_slow := result["verified"].get("stepped_down"):
                self._patiently(lambda: self.tallies.add({(MISSED, "too_slow"): len(too_slow)}))
            store = partial(self.runs.succeed, search, self.executor, result)
            stored = self._step("store", lambda: {"stored": self._patiently(store)})["stored"]
            return "succeeded" if stored else "dropped"
        except (dbos_error.DBOSException, StoreUnavailable):
            raise  # another has this run, or it cannot be ended now: the sweep knows what to do
        except Exception as error:
            if isinstance(error, Failed):
                problem = error.problem
            else:
                problem = self._problem(error)
            stored = self._patiently(lambda: self.runs.fail(search, self.executor, problem))
            return "failed" if stored else "dropped"

    def _deliver(self, search: Search, watch: Watch) -> dict[str, Any]:
        request = search.request
        profile = self._patiently(lambda: self.store.profile(search.profile_sha256))
        table = table_from_json(profile)
        context = self.catalog.context_of(self.catalog.supernets.get(request["supernet"]), table)
        _check_same_bundle(context, request)
        return deliver(
            context,
            lambda: self._builder_for(context),
            request["constraints"],
            request["seed"],
            artifacts=self.artifacts,
            intermediates=self._drafts(search.workflow_id),
            step=self._step,
            report=watch.report,
        )

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a step unless it is noted as done; what it answers, or how it failed, is noted.

        Raises:
            StoreUnavailable: if it cannot be noted, for which DBOS waits in most cases, not in all.
        """
        with answering():
            noted = DBOS.run_step(
                {
                    "name": name,
                    "retries_allowed": True,
                    "max_attempts": STEP_ATTEMPTS,
                    "interval_seconds": STEP_BACKOFF_S,
                },
                self._answer,
                work,
            )
        if "problem" in noted:
            raise Failed(noted["problem"])
        answer: dict[str, Any] = noted["answer"]
        return answer

    def _answer(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return {"answer": work()}
        except (ArtifactUnwritable, OSError) as error:
            status = DBOS.step_status
            assert status is not None
            if (status.current_attempt or 0) + 1 < (status.max_attempts or 0):
                raise  # DBOS tries again
            return {"problem": self._problem(error)}
        except Exception as error:
            if isinstance(error, Unverified):
                self._patiently(lambda: self.tallies.add({(MISSED, "failed"): 1}))
            return {"problem": self._problem(error)}

    def _problem(self, error: Exception) -> dict[str, Any]:
        if isinstance(error, SubnetSearchError):
            log.warning("search_failed", error=str(error))
        else:
            log.exception("search_crashed", exc_info=error)
        return problem_of(error)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the database, and wait for it to come back if it is gone."""
        deadline, pause = time.monotonic() + OUTAGE_S, 0.1
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                if self.dropping.is_set():
                    raise Stopped from error
                if time.monotonic() > deadline:
                    raise
                log.error("store_unavailable", error=str(error))
                self.dropping.wait(pause)
                pause = min(2 * pause, 2.0)

    def _drafts(self, workflow_id: str) -> ArtifactStore:
        return self.artifacts.within(f"drafts/{workflow_id}")

    def _builder_for(self, context: DeploymentContext) -> ModelBuilder:
        """The last one used is kept: loading a supernet takes longer than a search."""
        kept = self._builder
        if kept is None or kept.bundle.card != context.bundle.card:
            kept = self._builder = ModelBuilder(
                context.bundle, threads=self._threads, home=self.settings.home
            )
        return kept


def _check_same_bundle(context: DeploymentContext, request: Mapping[str, Any]) -> None:
    bundle = context.bundle
    if bundle.sha256 != request["supernet_sha256"]:
        raise CorruptBundle(
            f"supernet {bundle.name!r} changed since this was asked: expected weights with sha256 "
            f"{request['supernet_sha256'][:12]}, this worker has {bundle.sha256[:12]}; ask again"
        )

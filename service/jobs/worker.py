"""A worker process: takes runs of searches from DBOS's queue, one at a time, and sends webhooks.

A run is a sequence of durable steps (`service.jobs.steps`). What the heartbeat thread does for
workers that die is in `service.jobs.recovery`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any

import structlog
from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy import Engine

from latency_tables.table import LatencyTable, table_from_json
from models.bundle import Bundle
from models.errors import Conflict, CorruptBundle, SubnetSearchError
from models.machine import cores, give_back_memory
from models.spaces import Arch
from service.catalog import Catalog, DeploymentContext, FrontStore, Goal, changed_since
from service.contracts import Search, StoreUnavailable, problem_of
from service.delivery import ModelBuilder, Unverified, deliver
from service.jobs.identity import new_executor
from service.jobs.queue import SEARCHES, WEBHOOKS, Durable, configuration
from service.jobs.recovery import SWEEP_LIMIT, WorkerRecovery
from service.jobs.run_watch import RunWatch
from service.jobs.steps import StepFailed, Steps, Stopped, log_problem
from service.jobs.webhook_sender import WebhookSender
from service.settings import Settings
from service.storage import (
    MISSED,
    ArtifactStore,
    CounterStore,
    ExecutorStore,
    RunStore,
    SearchStore,
    WebhookStore,
    webhook_run,
)

SWEEP_EVERY_S = 10.0
HUNG_AFTER_S = 60.0
"""How long after its time limit a run may go on without reporting."""
EXIT_HUNG, EXIT_REFUSED = 70, 71
HEARTBEAT_JOIN_S = 10.0
STOP_POLL_S = 0.02
IDLE_S = 10.0
"""How long after a search freed memory is kept for the next one."""

log = structlog.get_logger(__name__)


class WorkerLost(SubnetSearchError):
    """Every worker that took up a search died."""


class Worker:
    """Does the runs of searches, one at a time. There can be one that works in a process."""

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
        self.webhook_sender = WebhookSender(self.webhooks, settings)
        self.executor = new_executor()
        self._tokens: set[str] = set()
        self.executors, self.counters = ExecutorStore(engine), CounterStore(engine)
        self.recovery = WorkerRecovery(
            self.executor, self.executors, self.runs, durable, dead_after_s=settings.dead_after_s
        )
        self.running: dict[str, RunWatch] = {}
        self.sending: set[str] = set()
        self.stopping, self.abandon = Event(), Event()  # begin no run; give up the present one
        self.steps = Steps(self.abandon, self._count_failure)
        self._builder: ModelBuilder | None = None
        self._ended_at: float | None = None
        self._threads = settings.threads or max(1, cores() // max(1, settings.workers))

    # -- the process ---------------------------------------------------------------------

    def run(self, stop: Event) -> None:
        """Work until `stop` is set. The present run is then finished, or put back into the queue if
        that takes longer than `shutdown_s`."""
        with self.working():
            stop.wait()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work in the background."""
        self._beat()
        self.durable.open_queues(self.settings.poll_interval_s)
        DBOS(config=configuration(self.engine, self.executor))
        # New functions each time, because DBOS keeps state on them.
        DBOS.workflow(name=SEARCHES)(lambda search_id, run: self.do(search_id, run))
        DBOS.workflow(name=WEBHOOKS)(lambda webhook_id, attempt: self.send(webhook_id, attempt))
        DBOS.launch()
        heartbeat = Thread(target=self._heartbeat, name="heartbeat", daemon=True)
        heartbeat.start()
        log.info("working", executor=self.executor)
        try:
            yield
        finally:
            self._stop(heartbeat)

    def _stop(self, heartbeat: Thread) -> None:
        self.stopping.set()
        deadline = time.monotonic() + self.settings.shutdown_s
        while (self.running or self.sending) and time.monotonic() < deadline:
            time.sleep(STOP_POLL_S)
        self.abandon.set()
        while self.running and time.monotonic() < deadline + 1:
            time.sleep(STOP_POLL_S)
        DBOS.destroy(destroy_registry=True)
        heartbeat.join(HEARTBEAT_JOIN_S)
        try:
            count = self.recovery.put_back(self.executor, count_attempt=False)
            self.executors.remove(self.executor)
            log.info("stopped", executor=self.executor, put_back=count)
        except StoreUnavailable as error:
            log.error("not_put_back", executor=self.executor, error=str(error))

    def _heartbeat(self) -> None:
        """Count heartbeats, recover from the death of other workers, and end a run that hangs."""
        swept_s = -SWEEP_EVERY_S
        while True:
            try:
                self._beat()
                self.recovery.check_others()
                if time.monotonic() - swept_s >= SWEEP_EVERY_S:
                    self._sweep()
                    swept_s = time.monotonic()
            except StoreUnavailable as error:
                log.error("store_unavailable", error=str(error))
            except Conflict as error:
                self._exit_refused(error)
            except Exception:
                log.exception("heartbeat_failed")
            if self._ended_at and not self.running and time.monotonic() > self._ended_at + IDLE_S:
                self._ended_at = None
                give_back_memory()
            for watch in tuple(self.running.values()):
                if watch.overdue_s > HUNG_AFTER_S:
                    self._exit_hung(watch)
            if self.abandon.wait(self.recovery.heartbeat_s):
                return

    def _beat(self) -> None:
        """Count one heartbeat.

        Raises:
            Conflict: if another process works under this one's name.
        """
        token = uuid.uuid4().hex
        self._tokens.add(token)  # before it is stored: the answer may get lost
        self.executors.heartbeat(self.executor, token, self._tokens)
        self._tokens = {token}

    def _sweep(self) -> None:
        webhooks = self.webhooks.undelivered(SWEEP_LIMIT)
        self.recovery.sweep(
            (*self.running, *self.sending),
            {w.workflow_id: partial(self.webhooks.again, w, None, 0.0) for w in webhooks},
        )
        for workflow_id in self.recovery.delete_history():
            self._intermediates(workflow_id).clear()

    def _exit_hung(self, watch: RunWatch) -> None:
        """Fail a run that hangs and end this process: a thread cannot be stopped otherwise."""
        log.critical("hung", search=watch.search.id)
        self.runs.fail(watch.search, self.executor, problem_of(watch.time_limit_error()))
        os._exit(EXIT_HUNG)

    def _exit_refused(self, error: Conflict) -> None:
        """End this process at once, and leave the runs to the other one of the same name."""
        log.critical("identity_refused", executor=self.executor, error=str(error))
        os._exit(EXIT_REFUSED)

    # -- workflows -----------------------------------------------------------------------

    def send(self, webhook_id: str, attempt: int) -> str:
        """Make one attempt to send a webhook; returns the outcome's name.

        Raises:
            Stopped: if this worker stops before.
        """
        if self.stopping.is_set():
            raise Stopped
        workflow_id = webhook_run(webhook_id, attempt)
        self.sending.add(workflow_id)
        try:
            return self.webhook_sender.send(webhook_id, attempt, self.steps.retry_outages)
        finally:
            self.sending.discard(workflow_id)

    def do(self, search_id: str, run: int) -> str:
        """Bring a run to an end; returns the outcome's name.

        Raises:
            Stopped: if this worker stops before.
        """
        if self.stopping.is_set():
            raise Stopped
        search = self.steps.retry_outages(lambda: self.runs.start(search_id, run, self.executor))
        if search is None:
            return "dropped"
        watch = RunWatch(
            search,
            partial(self.runs.report, search, self.executor),
            time_limit_s=self.settings.job_timeout_s,
            abandon=self.abandon,
        )
        self.running[search.workflow_id] = watch
        with structlog.contextvars.bound_contextvars(search=search.id, run=run):
            log.info("search_started", attempt=search.attempts)
            try:
                outcome = self._outcome(search, watch)
            except Stopped:
                if self.abandon.is_set():
                    log.info("search_put_back")
                    raise
                outcome = "dropped"
            finally:
                del self.running[search.workflow_id]
            self._intermediates(search.workflow_id).clear()
            self._ended_at = time.monotonic()
            log.info("search_ended", outcome=outcome, seconds=round(watch.seconds, 3))
        return outcome

    def _outcome(self, search: Search, watch: RunWatch) -> str:
        retry_outages = self.steps.retry_outages
        try:
            if search.attempts > self.settings.max_attempts:
                raise WorkerLost(
                    f"{search.attempts - 1} workers in turn died or fell silent on this search"
                )
            result = self._deliver(search, watch)
            if too_slow := result["verified"].get("stepped_down"):
                retry_outages(lambda: self.counters.add({(MISSED, "too_slow"): len(too_slow)}))
            succeed = partial(self.runs.succeed, search, self.executor, result)
            stored = self.steps("store", lambda: {"stored": retry_outages(succeed)})["stored"]
            return "succeeded" if stored else "dropped"
        except (dbos_error.DBOSException, StoreUnavailable):
            raise  # another worker has this run, or no end can be stored: the sweep takes care
        except Exception as error:
            problem = error.problem if isinstance(error, StepFailed) else log_problem(error)
            stored = retry_outages(lambda: self.runs.fail(search, self.executor, problem))
            return "failed" if stored else "dropped"

    def _deliver(self, search: Search, watch: RunWatch) -> dict[str, Any]:
        request = search.request
        profile = self.steps.retry_outages(lambda: self.store.profile(search.profile_sha256))
        table, bundle = table_from_json(profile), self.catalog.supernets.get(request["supernet"])
        _check_same_bundle(bundle, request)
        context = self.catalog.context_of(bundle, table, self._float_table(request))
        result = deliver(
            context,
            lambda: self._builder_for(context),
            request["constraints"],
            request["seed"],
            goal=Goal.of_request(request),
            artifacts=self.artifacts,
            intermediates=self._intermediates(search.workflow_id),
            step=self.steps,
            report=watch.report,
            allow_low_top1=request.get("allow_low_top1", False),
            batch=request.get("batch"),
        )
        FrontStore.of(self.settings.home).add(context, Arch.from_json(result["arch"]))
        return result

    def _float_table(self, request: Mapping[str, Any]) -> LatencyTable | None:
        """The table at fp32 that the search was asked with, if it had one."""
        if (sha256 := request.get("fp32_device_sha256")) is None:
            return None
        devices, device = self.catalog.devices, request["device"]
        return self.steps.retry_outages(lambda: devices.table_of_hash(device, sha256))

    def _count_failure(self, error: Exception) -> None:
        if isinstance(error, Unverified):
            self.steps.retry_outages(lambda: self.counters.add({(MISSED, "failed"): 1}))

    def _intermediates(self, workflow_id: str) -> ArtifactStore:
        return self.artifacts.within(f"drafts/{workflow_id}")

    def _builder_for(self, context: DeploymentContext) -> ModelBuilder:
        """The last builder is kept, because loading a supernet takes longer than a search."""
        builder = self._builder
        if builder is None or builder.bundle.card != context.bundle.card:
            builder = self._builder = ModelBuilder(
                context.bundle, threads=self._threads, home=self.settings.home
            )
        return builder


def _check_same_bundle(bundle: Bundle, request: Mapping[str, Any]) -> None:
    if (difference := changed_since(bundle, request)) is not None:
        raise CorruptBundle(
            f"supernet {bundle.name!r} of this worker changed since this was asked: {difference}; "
            "ask again"
        )

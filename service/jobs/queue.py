"""DBOS, the engine of durable jobs: how it is set up, and the few things that are asked of it.

The rows of `service.storage.tables` say what became of a search; DBOS sees to it that something
does. Its tables lie in the same database, so that a search is stored and enqueued in one
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dbos import (
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    WorkflowStatus,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.contracts import Search
from service.storage import RUN, quieten_dbos, webhook_run

APPLICATION = "subnet-search"
VERSION = "1"
"""One for ever: a run whose steps are no longer those noted of it fails in DBOS, and the sweep
(`service.jobs.recovery`) starts it anew. By default a new release would leave old runs alone."""
SEARCHES, WEBHOOKS = "searches", "webhooks"
UNFINISHED = ("ENQUEUED", "PENDING", "DELAYED")
FINISHED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
BATCH = 500
WEBHOOKS_EVERY_S = 1.0
AT_ONCE = 4
"""Webhooks that one worker sends at the same time, beside its search."""


class Durable:
    """DBOS as seen from outside a workflow; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        quieten_dbos()
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
            # Our callers know what to do without a database: answer 503, or try again.
            retry_connection_errors=False,
        )

    def enqueue(self, session: Session, search: Search) -> None:
        """Enqueue the run of a search in the transaction that stores it."""
        self._client.enqueue_in_transaction(
            session,
            {
                "queue_name": SEARCHES,
                "workflow_name": SEARCHES,
                "workflow_id": search.workflow_id,
            },
            search.id,
            search.run,
        )

    def enqueue_webhook(
        self, session: Session, webhook_id: str, attempt: int, delay_s: float
    ) -> None:
        """Enqueue an attempt to send a webhook, in the transaction that calls for it."""
        options: EnqueueOptions = {
            "queue_name": WEBHOOKS,
            "workflow_name": WEBHOOKS,
            "workflow_id": webhook_run(webhook_id, attempt),
        }
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        self._client.enqueue_in_transaction(session, options, webhook_id, attempt)

    def open_queues(self, poll_interval_s: float) -> None:
        """Set the queues up; a worker takes one search at a time, and looks that often."""
        # Looking takes some milliseconds from the search at hand; nobody waits for a webhook.
        unhurried_s = max(poll_interval_s, WEBHOOKS_EVERY_S)
        for name, at_once, every_s in (
            (SEARCHES, 1, poll_interval_s),
            (WEBHOOKS, AT_ONCE, unhurried_s),
        ):
            self._client.register_queue(
                name,
                worker_concurrency=at_once,
                polling_interval_sec=every_s,
                on_conflict="always_update",
            )

    def states(self, workflow_ids: Sequence[str]) -> dict[str, WorkflowStatus]:
        """What DBOS knows of some runs."""
        if not workflow_ids:
            return {}
        found = self._client.list_workflows(
            workflow_ids=list(workflow_ids), load_input=False, load_output=False
        )
        return {workflow.workflow_id: workflow for workflow in found}

    def taken_by(self, executor: str) -> list[str]:
        """Runs that `executor` has begun and not ended."""
        found = self._client.list_workflows(
            executor_id=executor, status="PENDING", load_input=False, load_output=False
        )
        return [workflow.workflow_id for workflow in found]

    def put_back(self, workflow_ids: Iterable[str]) -> None:
        """Enqueue runs again; each goes on after its last finished step."""
        found = list(workflow_ids)
        webhooks = [name for name in found if name.startswith(RUN)]
        searches = [name for name in found if name not in webhooks]
        for queue, ids in ((SEARCHES, searches), (WEBHOOKS, webhooks)):
            if ids:
                self._client.resume_workflows(ids, queue_name=queue)

    def forget(self, ended_before: str) -> list[str]:
        """Delete what DBOS keeps of some runs that ended before an ISO date; returns them."""
        found = self._client.list_workflows(
            status=list(FINISHED),
            completed_before=ended_before,
            limit=BATCH,
            load_input=False,
            load_output=False,
        )
        ids = [workflow.workflow_id for workflow in found]
        if ids:
            self._client.delete_workflows(ids)
        return ids


def configuration(engine: Engine, executor: str) -> DBOSConfig:
    """What DBOS runs with in a worker: nothing leaves the machine, nothing is pickled."""
    quieten_dbos()
    return DBOSConfig(
        name=APPLICATION,
        application_version=VERSION,
        executor_id=executor,
        system_database_engine=engine,
        serializer=DBOSPortableJSONSerializer(),
        run_migrations=False,
        log_level="WARNING",
        enable_otlp=False,
        # Neither messages nor schedules are used; the first is what its threads end by.
        notification_listener_polling_interval_sec=0.1,
        scheduler_polling_interval_sec=3600.0,
    )

"""The queues of durable jobs, run by DBOS: its configuration, and the calls made from outside a
workflow.

Our tables hold the state of a search; DBOS runs its workflow. DBOS's tables are in the same
database, so that a search is stored and enqueued in one transaction.
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
"""Never changed, because DBOS ignores runs of another version. A run whose steps differ from its
stored ones fails in DBOS, and the sweep (`service.jobs.recovery`) starts it anew."""
SEARCHES, WEBHOOKS = "searches", "webhooks"
FINISHED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
BATCH = 500
WEBHOOK_POLL_S = 1.0
PARALLEL_WEBHOOKS = 4
"""Webhooks that one worker sends at the same time, beside its search."""


class Durable:
    """Enqueues workflows and asks DBOS about them; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        quieten_dbos()
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
            # Without a database callers answer 503, or retry themselves.
            retry_connection_errors=False,
        )

    def enqueue(self, session: Session, search: Search) -> None:
        """Enqueue the run of a search, in the transaction that stores it."""
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
        """Enqueue an attempt to send a webhook, in the given transaction."""
        options: EnqueueOptions = {
            "queue_name": WEBHOOKS,
            "workflow_name": WEBHOOKS,
            "workflow_id": webhook_run(webhook_id, attempt),
        }
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        self._client.enqueue_in_transaction(session, options, webhook_id, attempt)

    def open_queues(self, poll_interval_s: float) -> None:
        """Register the queues. A worker takes one search at a time."""
        # A poll costs the present search milliseconds, and webhooks are not urgent.
        webhook_poll_s = max(poll_interval_s, WEBHOOK_POLL_S)
        for name, concurrency, poll_s in (
            (SEARCHES, 1, poll_interval_s),
            (WEBHOOKS, PARALLEL_WEBHOOKS, webhook_poll_s),
        ):
            self._client.register_queue(
                name,
                worker_concurrency=concurrency,
                polling_interval_sec=poll_s,
                on_conflict="always_update",
            )

    def states(self, workflow_ids: Sequence[str]) -> dict[str, WorkflowStatus]:
        """DBOS's records of some runs, by workflow id; unknown ones are left out."""
        if not workflow_ids:
            return {}
        workflows = self._client.list_workflows(
            workflow_ids=list(workflow_ids), load_input=False, load_output=False
        )
        return {workflow.workflow_id: workflow for workflow in workflows}

    def taken_by(self, executor: str) -> list[str]:
        """Workflow ids of the runs that `executor` has begun and not ended."""
        workflows = self._client.list_workflows(
            executor_id=executor, status="PENDING", load_input=False, load_output=False
        )
        return [workflow.workflow_id for workflow in workflows]

    def put_back(self, workflow_ids: Iterable[str]) -> None:
        """Enqueue runs again; each continues after its last finished step."""
        runs = list(workflow_ids)
        webhooks = [run for run in runs if run.startswith(RUN)]
        searches = [run for run in runs if not run.startswith(RUN)]
        for queue, ids in ((SEARCHES, searches), (WEBHOOKS, webhooks)):
            if ids:
                self._client.resume_workflows(ids, queue_name=queue)

    def delete_finished(self, before: str) -> list[str]:
        """Delete up to `BATCH` records of runs that finished before an ISO date; returns their
        workflow ids."""
        workflows = self._client.list_workflows(
            status=list(FINISHED),
            completed_before=before,
            limit=BATCH,
            load_input=False,
            load_output=False,
        )
        ids = [workflow.workflow_id for workflow in workflows]
        if ids:
            self._client.delete_workflows(ids)
        return ids


def configuration(engine: Engine, executor: str) -> DBOSConfig:
    """DBOS's configuration in a worker: nothing leaves the machine, nothing is pickled."""
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
        # Messages and schedules are not used; DBOS's threads end within the first interval.
        notification_listener_polling_interval_sec=0.1,
        scheduler_polling_interval_sec=3600.0,
    )

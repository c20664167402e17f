"""Durable steps of a run, and calls that outlast an outage of the database.

DBOS stores the result of each finished step, or how it failed. A run that another worker continues
gets stored results without repeating the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar

import structlog
from dbos import DBOS

from models.errors import SubnetSearchError
from service.contracts import StoreUnavailable, problem_of
from service.storage import ArtifactUnwritable, translate_outages

STEP_ATTEMPTS, STEP_BACKOFF_S = 3, 0.5
"""For a step that fails because artifacts cannot be written, which may pass."""
MAX_OUTAGE_S = 600.0
"""How long a call waits for the database to come back."""
MAX_PAUSE_S = 2.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Stopped(BaseException):
    """The run stops where it is, unfinished. Not an `Exception`, because it is not an outcome: DBOS
    must not store it as the result of the run."""


class StepFailed(Exception):
    """A step failed, in this worker or in an earlier one.

    Attributes:
        problem: the problem document.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


class Steps:
    """Runs durable steps within a DBOS workflow.

    Args:
        abandon: set when this worker gives up its runs; waiting ends then.
        on_failure: called with the exception of a step that has failed for good.
    """

    def __init__(self, abandon: Event, on_failure: Callable[[Exception], None]) -> None:
        self._abandon, self._on_failure = abandon, on_failure

    def __call__(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a step, stored by an earlier worker or computed now.

        Raises:
            StepFailed: if the step fails, or failed before.
            StoreUnavailable: if DBOS cannot store the result. (It waits for the database in most
                places, but not in all.)
        """
        with translate_outages():
            stored = DBOS.run_step(
                {
                    "name": name,
                    "retries_allowed": True,
                    "max_attempts": STEP_ATTEMPTS,
                    "interval_seconds": STEP_BACKOFF_S,
                },
                self._attempt,
                work,
            )
        if "problem" in stored:
            raise StepFailed(stored["problem"])
        answer: dict[str, Any] = stored["answer"]
        return answer

    def _attempt(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return {"answer": work()}
        except Exception as error:
            if isinstance(error, (ArtifactUnwritable, OSError)):
                status = DBOS.step_status
                assert status is not None
                if (status.current_attempt or 0) + 1 < (status.max_attempts or 0):
                    raise  # DBOS tries again
            self._on_failure(error)
            return {"problem": log_problem(error)}

    def retry_outages(self, call: Callable[[], T]) -> T:
        """The result of a database call, repeated until the database answers.

        Raises:
            Stopped: if this worker gives up its runs meanwhile.
            StoreUnavailable: after `MAX_OUTAGE_S`.
        """
        deadline, pause_s = time.monotonic() + MAX_OUTAGE_S, 0.1
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                if self._abandon.is_set():
                    raise Stopped from error
                if time.monotonic() > deadline:
                    raise
                log.error("store_unavailable", error=str(error))
                self._abandon.wait(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)


def log_problem(error: Exception) -> dict[str, Any]:
    """Log why a search failed, with the traceback of a bug; returns the problem document."""
    if isinstance(error, SubnetSearchError):
        log.warning("search_failed", error=str(error))
    else:
        log.exception("search_crashed", exc_info=error)
    return problem_of(error)

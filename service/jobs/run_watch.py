"""How long a run has been going, and whether it is to go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from models.errors import SubnetSearchError
from service.contracts import Search, StoreUnavailable

if TYPE_CHECKING:
    from service.jobs.worker import Worker

REPORT_EVERY_S = 0.2
log = structlog.get_logger(__name__)


class TimeLimit(SubnetSearchError):
    """A search took longer than it may."""


class Stopped(BaseException):
    """The run at hand is to stop where it is, unfinished. No `Exception`: it is no outcome, and
    nothing is to be noted of it."""


class Watch:
    """How long a run has been going, and whether it is to go on."""

    def __init__(self, worker: Worker, search: Search) -> None:
        self.worker, self.search = worker, search
        self._started = time.monotonic()
        self._reported = -REPORT_EVERY_S

    @property
    def seconds(self) -> float:
        """Since it was started here."""
        return time.monotonic() - self._started

    @property
    def overdue_s(self) -> float:
        """By how much it is over its time."""
        return self.seconds - self.worker.settings.job_timeout_s

    def too_long(self) -> TimeLimit:
        """What to say of it once it is over its time."""
        limit = self.worker.settings.job_timeout_s
        return TimeLimit(f"the search was stopped after {limit:g} s, the limit of this service")

    def report(self, step: str, share: float) -> None:
        """Note progress, not too often.

        Raises:
            Stopped: if the run is cancelled, another worker has it, or this one stops.
            TimeLimit: if it takes too long.
        """
        if self.worker.dropping.is_set():
            raise Stopped
        if self.overdue_s > 0:
            raise self.too_long()
        now = time.monotonic()
        if now - self._reported < REPORT_EVERY_S:
            return
        self._reported = now
        progress = {"step": step, "share": round(share, 3)}
        try:
            held = self.worker.runs.report(self.search, self.worker.executor, progress)
        except StoreUnavailable as error:
            log.error("progress_not_noted", error=str(error))
            return
        if not held:
            raise Stopped

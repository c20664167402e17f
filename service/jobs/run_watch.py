"""Progress and time limit of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

import structlog

from models.errors import SubnetSearchError
from service.contracts import Search, StoreUnavailable
from service.jobs.steps import Stopped

REPORT_EVERY_S = 0.2
log = structlog.get_logger(__name__)


class TimeLimit(SubnetSearchError):
    """A search took longer than it may."""


class RunWatch:
    """Reports the progress of a run, and ends it when it is cancelled or takes too long."""

    def __init__(
        self,
        search: Search,
        store: Callable[[Mapping[str, Any]], bool],
        *,
        time_limit_s: float,
        abandon: Event,
    ) -> None:
        """
        Args:
            store: stores progress; returns false if this worker no longer has the run.
            abandon: set when the worker gives up its runs.
        """
        self.search = search
        self._store, self._time_limit_s, self._abandon = store, time_limit_s, abandon
        self._started = time.monotonic()
        self._reported = -REPORT_EVERY_S

    @property
    def seconds(self) -> float:
        """Since the run was started in this worker."""
        return time.monotonic() - self._started

    @property
    def overdue_s(self) -> float:
        """Seconds beyond the time limit; negative before it."""
        return self.seconds - self._time_limit_s

    def time_limit_error(self) -> TimeLimit:
        """The error of a run that exceeds its time limit."""
        return TimeLimit(
            f"the search was stopped after {self._time_limit_s:g} s, the limit of this service"
        )

    def report(self, step: str, share: float) -> None:
        """Store progress, at most every `REPORT_EVERY_S`.

        Raises:
            Stopped: if the run is cancelled, another worker has it, or this one stops.
            TimeLimit: if it takes too long.
        """
        if self._abandon.is_set():
            raise Stopped
        if self.overdue_s > 0:
            raise self.time_limit_error()
        now = time.monotonic()
        if now - self._reported < REPORT_EVERY_S:
            return
        self._reported = now
        try:
            held = self._store({"step": step, "share": round(share, 3)})
        except StoreUnavailable as error:
            log.error("progress_not_noted", error=str(error))
            return
        if not held:
            raise Stopped

"""What operators scrape, in Prometheus' text form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from service.contracts import StoreUnavailable
from service.storage import STATUSES, counters

LOOP_EVERY_S = 0.02
LOOP_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
METHODS = frozenset(HTTPMethod)
"""Methods that are labels of their own. Clients may make up any others, and each label is kept."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpMetrics:
    """Metrics of requests, labelled by route rather than by path to keep the labels few."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "subnet_search_http_request_seconds",
            "Time to answer a request, seconds.",
            ("method", "route", "status"),
            registry=registry,
        )

        self._submitted = Counter(
            "subnet_search_submissions",
            "Searches asked for: hit, if the answer was stored; else miss.",
            ("cache",),
            registry=registry,
        )
        for outcome in ("hit", "miss"):
            self._submitted.labels(outcome)

        self._loop_wait = Histogram(
            "subnet_search_event_loop_wait_seconds",
            "How much later than it was due a task of the event loop went on, seconds.",
            buckets=LOOP_BUCKETS_S,
            registry=registry,
        )

    def submitted(self, *, stored: bool) -> None:
        """Count one search that was asked for."""
        self._submitted.labels("hit" if stored else "miss").inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        method = method if method in METHODS else "other"
        self._seconds.labels(method, route, str(status)).observe(seconds)

    async def watch_loop(self) -> None:
        """Measure the delay of the event loop until cancelled."""
        while True:
            due = time.monotonic() + LOOP_EVERY_S
            await asyncio.sleep(LOOP_EVERY_S)
            self._loop_wait.observe(max(0.0, time.monotonic() - due))


class WorkMetrics(Collector):
    """Metrics from the database: searches by status, and the counters of workers.

    Every API process exports the same numbers, so aggregate with `max`, not with a sum. While the
    database does not answer, these metrics are missing and all others are still exported.
    """

    def __init__(
        self,
        counts: Callable[[], Mapping[str, int]],
        counted: Callable[[], counters.Counts],
        workers: Callable[[], int],
    ) -> None:
        self._counts, self._counted, self._workers = counts, counted, workers

    def collect(self) -> Iterator[Metric]:
        """All metrics of the database, zeros included."""
        try:
            counts, counted, workers = self._counts(), self._counted(), self._workers()
        except StoreUnavailable:
            yield GaugeMetricFamily("subnet_search_database_up", "Whether it answers.", 0)
            return
        yield GaugeMetricFamily("subnet_search_database_up", "Whether it answers.", 1)
        gauge = GaugeMetricFamily(
            "subnet_search_searches", "Searches in the database, by status.", labels=["status"]
        )
        for status in STATUSES:
            gauge.add_metric([status], counts.get(status, 0))
        yield gauge
        yield GaugeMetricFamily(
            "subnet_search_queue_depth", "Searches that wait.", counts.get("queued", 0)
        )
        yield GaugeMetricFamily("subnet_search_workers", "Workers that live.", workers)
        for name, words, label in (
            (counters.ENDED, "Searches that workers ended, by status.", "outcome"),
            (counters.MISSED, "Models that did not pass verification, by reason.", "reason"),
        ):
            counter = CounterMetricFamily(f"subnet_search_{name}", words, labels=[label])
            for (found, value), count in counted.items():
                if found == name:
                    counter.add_metric([value], count)
            yield counter
        yield _seconds(counted)


def _seconds(counted: counters.Counts) -> HistogramMetricFamily:
    total, buckets = 0.0, []
    for bound in (*(f"{bound:g}" for bound in counters.BUCKETS_S), "+Inf"):
        total += counted.get((counters.SECONDS, bound), 0)
        buckets.append((bound, total))
    return HistogramMetricFamily(
        "subnet_search_search_seconds",
        "Time from the start of a search's work to its end, seconds.",
        buckets=buckets,
        sum_value=counted.get((counters.SECONDS, "sum"), 0.0),
    )


def exposition(registry: CollectorRegistry) -> bytes:
    """Everything registered, as text."""
    return generate_latest(registry)

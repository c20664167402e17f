"""What operators scrape, in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.tables import STATUSES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SEARCH_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300)


class HttpMetrics:
    """Requests answered, by route rather than by path, so that their number stays small."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "subnet_search_http_request_seconds",
            "Time to answer a request, seconds.",
            ("method", "route", "status"),
            registry=registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._seconds.labels(method, route, str(status)).observe(seconds)


class WorkMetrics:
    """Searches that the workers of this process brought to an end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "subnet_search_searches_ended",
            "Searches that workers of this process ended, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self._seconds = Histogram(
            "subnet_search_search_seconds",
            "Time from claiming a search to its end, seconds.",
            buckets=SEARCH_SECONDS,
            registry=registry,
        )

    def finished(self, outcome: str, seconds: float) -> None:
        """Count one search."""
        self._ended.labels(outcome).inc()
        self._seconds.observe(seconds)


class StoredSearches(Collector):
    """Searches in the database by status, counted when asked."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge, with every status, also those that no search has."""
        gauge = GaugeMetricFamily(
            "subnet_search_searches", "Searches in the database, by status.", labels=["status"]
        )
        counts = self._counts()
        for status in STATUSES:
            gauge.add_metric([status], counts.get(status, 0))
        yield gauge


def exposition(registry: CollectorRegistry) -> bytes:
    """Everything registered, as text."""
    return generate_latest(registry)

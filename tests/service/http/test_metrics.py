"""What is measured: of requests, and of an event loop that is blocked for a known time."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from service.http.metrics import HttpMetrics
from tests.processes import PATIENCE_S

NAME = "subnet_search_event_loop_wait_seconds"


def test_methods_that_clients_make_up_are_one_label():
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)
    for method in ("GET", "DELETE", "MADE", "UP", "get", ""):
        metrics.answered(method, "/v1/searches", 405, 0.1)

    def count(method: str) -> float | None:
        labels = {"method": method, "route": "/v1/searches", "status": "405"}
        return registry.get_sample_value("subnet_search_http_request_seconds_count", labels)

    assert [count(method) for method in ("GET", "DELETE", "other", "MADE")] == [1, 1, 4, None]


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_blocked_loop_is_seen():
    registry = CollectorRegistry()

    def late_by_more_than(bound: str) -> float:
        every = registry.get_sample_value(f"{NAME}_count") or 0.0
        return every - (registry.get_sample_value(f"{NAME}_bucket", {"le": bound}) or 0.0)

    watching = asyncio.create_task(HttpMetrics(registry).watch_loop())
    async with asyncio.timeout(PATIENCE_S):
        while (registry.get_sample_value(f"{NAME}_count") or 0.0) < 3:
            await asyncio.sleep(0.02)
    before = late_by_more_than("0.25")
    time.sleep(0.4)  # what nothing in the loop may do
    async with asyncio.timeout(PATIENCE_S):
        while late_by_more_than("0.25") == before:
            await asyncio.sleep(0.02)
    watching.cancel()

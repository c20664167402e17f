"""What is measured of the event loop, with one that is blocked for a known time."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from service.http.metrics import HttpMetrics

pytestmark = pytest.mark.anyio

NAME = "subnet_search_event_loop_wait_seconds"


@pytest.mark.slow
async def test_a_blocked_loop_is_seen():
    registry = CollectorRegistry()

    def late_by_more_than(bound: str) -> float:
        every = registry.get_sample_value(f"{NAME}_count") or 0.0
        return every - (registry.get_sample_value(f"{NAME}_bucket", {"le": bound}) or 0.0)

    watching = asyncio.create_task(HttpMetrics(registry).watch_loop())
    async with asyncio.timeout(20):
        while (registry.get_sample_value(f"{NAME}_count") or 0.0) < 3:
            await asyncio.sleep(0.02)
    before = late_by_more_than("0.25")
    time.sleep(0.4)  # what nothing in the loop may do
    async with asyncio.timeout(20):
        while late_by_more_than("0.25") == before:
            await asyncio.sleep(0.02)
    watching.cancel()

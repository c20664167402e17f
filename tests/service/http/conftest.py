"""A service as tests of its API ask it; some files have one of their own by these names."""

from __future__ import annotations

import pytest

from tests.service.conftest import busy_on, client_on


@pytest.fixture
async def client(settings):
    """A service without workers: what is asked stays queued."""
    async with client_on(settings) as client:
        yield client


@pytest.fixture
async def busy(settings):
    """A service with one worker."""
    async with busy_on(settings) as client:
        yield client

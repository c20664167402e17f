"""A service that a device opens links of."""

from __future__ import annotations

import pytest

from tests.service.conftest import SUPERNET, client_on, make_table
from tests.service.links.phone import Phone, install_runtime
from tests.spaces import DEBUG


@pytest.fixture
def web_home(home):
    install_runtime(home)
    return home


@pytest.fixture
async def client(web_home, settings):
    async with client_on(settings) as client:
        yield client


@pytest.fixture
def phone(client):
    return Phone(client, make_table(), DEBUG)


@pytest.fixture
def link(client):
    """Makes a link to measure, or another one."""

    async def made(**request):
        if "search" not in request:
            request = {"supernet": SUPERNET, **request}
        answer = await client.post("/v1/links", json=request)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return made

"""A real server, and the page opened on it."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.browser import PATIENCE_MS, chromium, serve, web_runtimes
from tests.e2e.layout import stock


@pytest.fixture(scope="package")
def url(tmp_path_factory):
    """A server of the shipped supernet and of a made-up one, for all files here that can share
    what it has stored; gone after them, since a worker that waits takes time from other tests."""
    home = tmp_path_factory.mktemp("home")
    stock(home)
    runtimes = web_runtimes()
    with serve(home, **({"SUBNET_RUNTIMES": str(runtimes)} if runtimes else {})) as url:
        yield url


@pytest.fixture(scope="package")
def browser():
    """For the files here: while it is open, its event loop runs, and no test can run another."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def hosts():
    """Every host that a page of the test has asked something of."""
    return set()


@pytest.fixture
def page(url, browser, hosts):
    """A page that reaches the server alone, and on which nothing may go wrong unseen."""
    context = browser.new_context(base_url=url, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    errors = []

    def only_ours(route):
        hosts.add(httpx.URL(route.request.url).netloc.decode())
        if route.request.url.startswith((url, "blob:", "data:")):
            route.continue_()
        else:
            route.abort()

    context.route("**/*", only_ours)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors

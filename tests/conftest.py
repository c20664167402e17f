"""Settings of every test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import typer.testing
from fastapi.routing import _IncludedRouter
from hypothesis import HealthCheck, settings
from starlette.routing import BaseRoute

from search.costs import registered_limits
from tests.processes import PATIENCE_S
from tests.sshd import Sshd, find_sshd, sshd

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

# Threads of torch that spin while they wait take the cores from whatever runs beside them. It has
# to be said before torch is imported; processes that tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What is imported and collected stays: it is looked through for garbage once, and never again.
gc.disable()

# How long a test takes depends on the machine; nothing in this suite asserts it.
settings.register_profile(
    "suite", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")
for wait in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, wait, PATIENCE_S)

SHARING = ("tests/e2e/", "tests/packaging/")
"""Folders whose files share a server; but for the docs, which have one of their own."""
MARKED_BY_FIXTURE = {"browser": pytest.mark.browser, "postgres": pytest.mark.postgres}


@pytest.fixture(scope="session", autouse=True)
def one_command_tree() -> Iterator[None]:
    """Typer builds every command anew at each call; here once for each set of limits."""
    build = typer.testing._get_command  # type: ignore[attr-defined]
    built = cache(lambda app, limits: build(app))
    with pytest.MonkeyPatch.context() as patch:
        get = lambda app: built(app, tuple(registered_limits()))  # noqa: E731
        patch.setattr(typer.testing, "_get_command", get)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_description_of_routes() -> Iterator[None]:
    """FastAPI describes every route anew for each application that includes it; here once for each
    set of limits."""
    build = _IncludedRouter._build_effective_context
    built: dict[tuple[object, ...], Any] = {}

    def once(included: _IncludedRouter, route: BaseRoute) -> Any:
        key = (id(route), *registered_limits().values())
        if key not in built:
            built[key] = build(included, route)
        return built[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_IncludedRouter, "_build_effective_context", once)
        yield


@pytest.fixture(scope="session")
def running_sshd() -> Iterator[Sshd]:
    """An SSH server of this machine's user."""
    if find_sshd() is None:
        pytest.skip("sshd is not installed (on Debian: apt-get install openssh-server)")
    with sshd() as server:
        yield server


@pytest.fixture
def ssh_server(running_sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The server with an empty home, for `ssh` as tests find it on the path."""
    running_sshd.reset()
    monkeypatch.setenv("PATH", running_sshd.path)
    return running_sshd


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """A file's tests stay in one process, and so do the files that share a server: to start it and
    to compute its curves takes longer than many a test."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc] # published without types
        def _split_scope(self, nodeid: str) -> str:
            path = super()._split_scope(nodeid)
            shared = path.startswith(SHARING) and not path.endswith("/test_docs.py")
            return path.rpartition("/")[0] if shared else path

    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """From here on, objects come and go."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark what a fixture makes of a test; files with slow tests come first, so that no process
    is left alone with one at the end."""
    for item in items:
        for fixture, mark in MARKED_BY_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
    yield
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)

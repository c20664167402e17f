"""Settings of every test."""

import os
from collections.abc import Iterator
from functools import cache

import pytest
import typer.testing
from hypothesis import settings

from search.costs import registered_limits
from tests.sshd import Sshd, find_sshd, sshd

# Threads of torch that spin while they wait take the cores from whatever runs beside them. It has
# to be said before torch is imported; processes that tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long a test takes depends on the machine; nothing in this suite asserts it.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

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

"""Settings of every test."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Threads of torch that spin while they wait take the cores from whatever runs beside them. It has
# to be said before torch is imported; processes that tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long a test takes depends on the machine; nothing in this suite asserts it.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

MARKED_BY_FIXTURE = {"browser": pytest.mark.browser, "postgres": pytest.mark.postgres}


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

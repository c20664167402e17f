"""Whose requests need no key while none exists, and the settling of keys' use afterwards."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import contextmanager

import httpx
import pytest

from service.contracts.errors import StoreUnavailable
from service.http.app import create_app
from service.http.auth import SOCKETS, _is_same_user, settle, settle_loop
from service.storage.access.api_keys import KeyStore
from tests.processes import PATIENCE_S
from tests.service.serving import serving


@contextmanager
def connected(family, address):
    """Both ends of a connection of this machine, as a scope names them."""
    with socket.socket(family) as listening:
        listening.bind((address, 0))
        listening.listen()
        with socket.create_connection(listening.getsockname()[:2]) as client:
            server, peer = listening.accept()
            with server:
                yield {"client": peer[:2], "server": server.getsockname()[:2]}, client


@pytest.mark.skipif(not SOCKETS[0].exists(), reason="this system has no table of sockets")
@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "127.8.0.1"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),
    ],
)
def test_a_connection_is_told_by_the_user_that_holds_it(monkeypatch, family, address):
    try:
        socket.create_server((address, 0), family=family).close()
    except OSError:
        pytest.skip("this machine has no such address")
    with connected(family, address) as (scope, client):
        assert _is_same_user(scope)
        turned = {"client": scope["server"], "server": (scope["client"][0], 1)}
        assert not _is_same_user(turned), "no such connection"
        with monkeypatch.context() as another:
            another.setattr("os.geteuid", lambda: os.getuid() + 1)
            assert not _is_same_user(scope)
        client.close()
        assert not _is_same_user(scope), "whose it was can no longer be told"


def test_where_no_user_can_be_told_everybody_of_the_machine_is_served(monkeypatch, tmp_path):
    scope = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    monkeypatch.setattr("service.http.auth.SOCKETS", (tmp_path / "tcp", tmp_path / "tcp6"))
    assert _is_same_user(scope)
    (tmp_path / "tcp").mkdir()
    assert not _is_same_user(scope), "a table that is there and cannot be read"
    monkeypatch.undo()
    assert _is_same_user({**scope, "server": None})


@pytest.mark.slow
def test_with_a_key_no_table_of_sockets_is_read(settings, monkeypatch):
    asked = []

    def noted(scope):
        asked.append(1)
        return True

    monkeypatch.setattr("service.http.auth._is_same_user", noted)
    app = create_app(settings)
    with serving(app) as url, httpx.Client(base_url=url) as client:
        assert client.get("/v1/supernets").status_code == 200
        assert asked == [1]
        secret, _ = app.state.service.keys.create("ann", "read")
        assert app.state.service.keys.exist()
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/v1/supernets", headers=headers).status_code == 200
        assert client.get("/v1/supernets").status_code == 401
        assert asked == [1]


# -- the settling of their use -------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RuntimeError("made up"), StoreUnavailable("does not answer")])
async def test_no_error_ends_the_settling(monkeypatch, error):
    monkeypatch.setattr("service.http.auth.SETTLE_EVERY_S", 0.0)
    thrice = asyncio.Event()
    loop, calls = asyncio.get_running_loop(), []

    class Failing(KeyStore):
        def __init__(self):
            pass

        def settle(self):
            calls.append(1)
            if len(calls) == 3:
                loop.call_soon_threadsafe(thrice.set)
            raise error

    await settle(Failing())  # as at the end
    settling = asyncio.create_task(settle_loop(Failing()))
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait(
            [settling, asyncio.ensure_future(thrice.wait())], return_when=asyncio.FIRST_COMPLETED
        )
    assert not settling.done()
    settling.cancel()

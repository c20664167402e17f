"""The typed client on servers that are absent, busy, damaged or something else."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

import httpx
import pytest

from models.errors import InputError
from service.client.client import Client
from service.client.errors import (
    Refused,
    ServerFailed,
    TooManyRequests,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from service.settings import Settings
from tests.service.conftest import DEVICE, SUPERNET
from tests.service.serving import serving

ROOT = Path(__file__).resolve().parents[3]


def test_a_service_that_is_not_there():
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable, match="127.0.0.1:9"):
        client.supernets()


@pytest.mark.parametrize("url", ["", "ftp://host", "host:8000", "http://"])
def test_a_url_that_is_none(url):
    with pytest.raises(InputError, match="expected one such as http"):
        Client(url)


def canned(*answers):
    """A client of a server that gives these answers, and what it was asked."""
    asked = []
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def answer(request):
        asked.append(request)
        return next(left)

    return Client(api_key="secret", transport=httpx.MockTransport(answer)), asked


EMPTY: dict[str, list[object]] = {"items": []}


def test_it_comes_again_when_it_is_told_to(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    busy = httpx.Response(429, headers={"Retry-After": "2"})
    client, asked = canned(busy, busy, httpx.Response(200, json=EMPTY))
    assert client.supernets() == []
    assert (len(asked), pauses) == (3, [2, 2])

    client, asked = canned(busy)
    with pytest.raises(TooManyRequests) as info:
        client.supernets()
    assert (len(asked), info.value.retry_after_s) == (5, 2)

    client, asked = canned(httpx.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(TooManyRequests):
        client.supernets()
    assert len(asked) == 1, "an hour is not waited for"


def test_the_key_is_sent_and_not_shown():
    client, asked = canned(httpx.Response(200, json=EMPTY))
    client.devices()
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert "secret" not in repr(client)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401), Unauthorized),
        (httpx.Response(403, json={"detail": "no"}), Unauthorized),
        (httpx.Response(502, text="<html>"), ServerFailed),
        (httpx.Response(418), Refused),
        (httpx.Response(599), ServerFailed),
        (httpx.Response(200, text="<html>"), UnexpectedAnswer),
        (httpx.Response(200, json={"items": [{"name": 7}]}), UnexpectedAnswer),
        (httpx.Response(302, headers={"Location": "http://elsewhere"}), Refused),
    ],
)
def test_other_servers(answer, error):
    client, asked = canned(answer)
    with pytest.raises(error):
        client.supernets()
    assert len(asked) == 1, "nothing is followed elsewhere, with the key"


@pytest.mark.slow
def test_what_a_search_failed_with_is_raised(template, tmp_path):
    home = shutil.copytree(template, tmp_path / "home")
    weights = home / "supernets" / SUPERNET / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    damaged = Settings(home=home, workers=0, poll_interval_s=0.01)
    with (
        serving(damaged, worker_thread=True) as url,
        Client(url) as client,
        pytest.raises(ServerFailed, match="does not match its card") as info,
    ):
        client.search(SUPERNET, DEVICE, latency_ms=0.75)
    assert info.value.problem.title == "Corrupt bundle"

"""Where links begin, and what is said of an address that others cannot reach."""

from __future__ import annotations

import pytest

from service.links.addresses import address_of
from service.links.user_agents import name_of, processor_of
from service.settings import Settings

LAN = "192.168.1.7"


@pytest.mark.parametrize(
    ("requested", "public", "everywhere", "base", "words"),
    [
        ("http://127.0.0.1:8000/", None, False, "http://127.0.0.1:8000", ["--host 0.0.0.0"]),
        ("http://localhost:8000/", None, True, f"http://{LAN}:8000", ["found out", "coarse clock"]),
        ("http://10.0.0.7:8000/", None, True, "http://10.0.0.7:8000", ["coarse clock"]),
        ("https://subnet.example.com/", None, False, "https://subnet.example.com", []),
        ("http://127.0.0.1:8000/", "https://x.example/sub", True, "https://x.example/sub", []),
        ("http://127.0.0.1:8000/", "http://[::1]:9", True, "http://[::1]:9", ["PUBLIC_URL"]),
    ],
)
def test_addresses(requested, public, everywhere, base, words):
    found = address_of(requested, public, listens_everywhere=everywhere, lan=LAN)
    assert found.base == base
    assert len(found.warnings) == len(words)
    assert all(word in text for word, text in zip(words, found.warnings, strict=True))


def test_without_an_address_in_a_network(monkeypatch):
    monkeypatch.setattr("service.links.addresses.lan_address", lambda: None)
    found = address_of("http://localhost/", None, listens_everywhere=True)
    assert "SUBNET_PUBLIC_URL" in found.warnings[0]


@pytest.mark.parametrize("url", ["ftp://x", "subnet.example.com", "http://", "http://x/?a=b"])
def test_a_public_url_is_an_address(url):
    with pytest.raises(ValueError, match="https://subnet.example.com"):
        Settings(public_url=url)


@pytest.mark.parametrize(
    ("agent", "name", "processor"),
    [
        ("Mozilla/5.0 (Linux; Android 10; K) Chrome/130 Mobile", "android-phone", "Linux; Android"),
        ("Mozilla/5.0 (Linux; Android 13; SM-X700) Chrome/130", "android-tablet", "SM-X700"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)", "iphone", "CPU iPhone OS 17_5"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "mac", "Macintosh"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "windows-pc", "Windows NT"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "linux-pc", "X11"),
        ("curl/8", "browser", "curl/8"),
        ("", "browser", "not stated"),
        ("(\x00\n" + "x" * 900 + ")", "browser", "xxx"),
    ],
)
def test_browsers(agent, name, processor):
    assert name_of(agent, ()) == name
    assert name_of(agent, {name, f"{name}-2-webgpu"}) == f"{name}-3"
    found = processor_of(agent)
    assert processor in found
    assert found.isprintable()
    assert len(found) <= 200

"""Which requests are taken: the host they name, the proxy they came through, the page they are
of."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from service.contracts.access import read_host
from service.http.request_checks import MAX_HOST, PROBES, RequestChecks
from service.settings import Settings
from tests.service.conftest import client_on

NAMED = "subnet.example.com, *.lan.example.com, 10.0.0.7:8080, [fd00::7], FD00:0::8"
UNKNOWN, UNNAMED, CROSS = "unknown-host", "unnamed-proxy", "cross-origin"


def refusal(checks, *headers, method="GET", path="/v1/searches", peer="127.0.0.1", here=None):
    """The kind of problem that a request is answered with; None if it is passed on."""
    passed, sent = [], []

    async def app(scope, receive, send):
        passed.append(scope)

    async def send(message):
        sent.append(message)

    given = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": given, "state": {}}
    scope |= {"client": peer and (peer, 1234), "server": (here or "127.0.0.1", 8000)}
    checks.app = app
    asyncio.run(checks(scope, None, send))
    if passed:
        assert not sent
        return None
    answer = httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.status_code == answer.json()["status"]
    return answer.json()["type"].rpartition(":")[2]


def checks_of(**settings):
    return RequestChecks(None, Settings(**settings))  # type: ignore[arg-type]


# -- hosts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost", "localhost.", "localhost:8000", "localhost.:8000"),
        *("127.0.0.1", "127.0.0.1:9", "127.8.9.1", "127.0.0.1."),
        *("[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]"),
    ],
)
def test_loopback_names_are_always_known(host):
    assert refusal(checks_of(), ("host", host)) is None


FOREIGN = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"),
    *(
        "evil-localhost",
        "localhost@evil.example",
        "evil@localhost",
        "evil.example#localhost",
        "localhost/",
        "[::1",
    ),
    *("localhost:port", "localhost:99999", "localhost:8000:8000", "", ":8000", ".", "127.1", "a b"),
    *("0.0.0.0", "10.0.0.7", "[::]", "[fd00::7]", "l\xf6calhost", "x" * 400),
]


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names_are_not(host):
    assert refusal(checks_of(), ("host", host)) == UNKNOWN
    assert refusal(checks_of(allowed_hosts="*"), ("host", host)) in (None, UNKNOWN)


def test_a_host_that_is_too_long_is_not_remembered():
    checks = checks_of(allowed_hosts="*")
    assert refusal(checks, ("host", "x" * (MAX_HOST + 1))) == UNKNOWN
    assert checks._is_named.cache_info().currsize == 0
    assert refusal(checks, ("host", "x" * 60)) is None
    assert checks._is_named.cache_info().currsize == 1


@pytest.mark.parametrize("hosts", [(), ("localhost", "evil.example"), ("localhost", "localhost")])
def test_a_request_names_one_host(hosts):
    headers = [("host", host) for host in hosts]
    assert refusal(checks_of(allowed_hosts="*"), *headers) == UNKNOWN


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("subnet.example.com", True),
        ("SUBNET.example.com.:8443", True),
        ("www.subnet.example.com", False),
        ("a.lan.example.com", True),
        ("a.b.lan.example.com:1", True),
        ("lan.example.com", False),
        ("10.0.0.7:8080", True),
        ("10.0.0.7", False),
        ("10.0.0.7:80", False),
        ("[fd00::7]:8000", True),
        ("[fd00:0:0::7]", True),
        ("[fd00::8]", True),
        ("[fd00::9]", False),
        ("evil.example", False),
    ],
)
def test_named_hosts_are_known(host, known):
    got = refusal(checks_of(allowed_hosts=NAMED), ("host", host))
    assert got == (None if known else UNKNOWN)
    assert refusal(checks_of(allowed_hosts="*"), ("host", host)) is None


def test_the_address_that_a_request_arrives_at_needs_no_naming():
    for here, host in (("192.168.1.7", "192.168.1.7:8000"), ("fd00::7", "[fd00:0::7]")):
        assert refusal(checks_of(), ("host", host), here=here) is None
        assert refusal(checks_of(), ("host", host)) == UNKNOWN
    assert refusal(checks_of(), ("host", "evil.example"), here="evil.example") == UNKNOWN


@pytest.mark.parametrize("path", PROBES)
def test_balancers_probe_by_any_name(path):
    headers = [("host", "10.1.2.3:8000"), ("x-forwarded-for", "10.9.9.9")]
    assert refusal(checks_of(), *headers, path=path) is None
    assert refusal(checks_of(), path=path) is None
    assert refusal(checks_of(), *headers, path=path + "/") is not None


@pytest.mark.parametrize(
    "entry", ["http://x", "a b", "x@y", "x/y", "x:port", "x:99999", "[::1", "b\xfccher.example"]
)
def test_entries_that_are_no_hosts_are_refused_at_the_start(entry):
    for name in ("allowed_hosts", "webhook_hosts"):
        with pytest.raises(ValueError, match=name):
            Settings.model_validate({name: f"localhost, {entry}"})
    with pytest.raises(ValueError, match=r"expected|[Pp]ort|IPv6"):
        read_host(entry)


# -- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
        *("x-forwarded-port", "x-forwarded-server", "true-client-ip", "cf-connecting-ip"),
    ],
)
def test_forwarded_requests_come_through_named_proxies_alone(name):
    headers = [("host", "localhost"), (name, "127.0.0.1")]
    checks = checks_of(trusted_proxies="10.0.0.7, 10.1.0.0/16, ::1, fd00::/8")
    for peer in ("10.0.0.7", "10.1.200.3", "::ffff:10.0.0.7", "::1", "0:0::1", "fd12::9"):
        assert refusal(checks, *headers, peer=peer) is None
    for peer in ("127.0.0.1", "10.0.0.8", "10.2.0.1", "::2", "", "testclient"):
        assert refusal(checks, *headers, peer=peer) == UNNAMED
        assert refusal(checks, headers[0], peer=peer) is None, "others go on as they did"
    assert refusal(checks_of(), *headers) == UNNAMED


@pytest.mark.parametrize("entry", ["proxy", "10.0.0.7:80", "10.0.0.7/8", "*", "10.0.0"])
def test_entries_that_are_no_proxies_are_refused_at_the_start(entry):
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=f"127.0.0.1, {entry}")


# -- pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),  # curl, the client
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}, True),
        ({"sec-fetch-site": "none"}, True),  # typed by the user
        # A proxy that does not pass on the Host: the browser knows better than we do.
        ({"sec-fetch-site": "same-origin", "origin": "https://subnet.example.com"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:3000"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost:8000"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": ""}, False),
        # Browsers that send no Sec-Fetch-Site, or no HTTPS.
        ({"origin": "http://localhost:8000"}, True),
        ({"origin": "https://LOCALHOST:8000"}, True),
        ({"origin": "http://localhost:3000"}, False),
        ({"origin": "http://localhost"}, False),
        ({"origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "localhost:8000"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "https://evil.example://localhost:8000"}, False),
    ],
)
def test_changes_are_asked_for_by_programs_and_our_own_page(headers, taken):
    given = [("host", "localhost:8000"), *headers.items()]
    for method in ("POST", "PUT", "PATCH", "DELETE", "ODD"):
        assert refusal(checks_of(), *given, method=method) == (None if taken else CROSS)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert refusal(checks_of(), *given, method=method) is None, "links lead here"


# -- in the application ------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_is_refused_reaches_no_route_and_no_log_of_changes(settings):
    async with client_on(settings) as client:
        audit = client._transport.app.state.service.audit  # type: ignore[attr-defined]
        for headers, setting in (
            ({"Host": "evil.example"}, "SUBNET_ALLOWED_HOSTS"),
            ({"X-Forwarded-For": "203.0.113.9"}, "SUBNET_TRUSTED_PROXIES=127.0.0.1"),
            ({"Origin": "https://evil.example"}, "Host header"),
        ):
            answer = await client.post("/v1/searches", json={}, headers=headers)
            assert answer.status_code in (403, 421)
            assert setting in answer.json()["detail"]
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
            if "Origin" not in headers:
                for path in ("/", "/assets/app.js", "/openapi.json", "/metrics", "/no"):
                    status = (await client.get(path, headers=headers)).status_code
                    assert status == answer.status_code, path
            assert (await client.get("/readyz", headers=headers)).status_code == 200
        assert audit.entries() == []
        assert (await client.post("/v1/searches", json={})).status_code == 422


@pytest.mark.anyio
async def test_a_named_proxy_says_how_the_service_is_reached(settings):
    named = settings.model_copy(update={"trusted_proxies": "127.0.0.1", "access": "off"})
    async with client_on(named) as client:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        answer = await client.get("/v1/supernets/", headers=headers)
        assert answer.status_code == 307
        assert answer.headers["Location"] == "https://localhost/v1/supernets"

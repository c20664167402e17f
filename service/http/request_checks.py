"""Which requests are taken at all: by the host they name, the proxy they came through, and the
page that sent them.

Without keys the service trusts every program of its machine. These checks keep out what such a
program only passes on: a page in its browser (also one whose name was rebound to this machine) and
other people's requests behind a reverse proxy. They run before anything is read or stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address

from service.contracts import (
    CrossOrigin,
    UnknownHost,
    UnnamedProxy,
    is_address,
    is_loopback,
    normal_host,
    read_host,
)
from service.http import problems
from service.http.middleware import App, Message, Receive, Send
from service.settings import Settings

READS = ("GET", "HEAD", "OPTIONS", "TRACE")
PROBES = ("/healthz", "/readyz")
"""Balancers ask these by whatever name or address they know; the answers tell nothing else."""
FORWARDED = (
    b"forwarded",
    b"x-forwarded",
    b"x-original-forwarded-for",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
)
"""What the names of headers begin with that a reverse proxy adds. Via is not among them: a proxy of
the sender's own network adds it, too."""
CACHED, MAX_HOST = 1024, 300
"""Hosts and peers whose check is remembered; the longest Host that is checked."""


class RequestChecks:
    """Refuses requests for other hosts, through unnamed proxies, and from pages of other sites.

    Named hosts are loopback names, the address that the request arrived at, and those of the
    settings. A page of another site is told by Sec-Fetch-Site or Origin, which browsers send with
    every change; programs send neither.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self.app, self._settings = app, settings
        self._is_named = lru_cache(CACHED)(self._find_host)
        self._is_proxy = lru_cache(CACHED)(self._find_proxy)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request; anything else is passed on."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            try:
                self._check(scope)
            except (CrossOrigin, UnknownHost, UnnamedProxy) as error:
                await problems.answer(scope, error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Message) -> None:
        """
        Raises:
            UnnamedProxy, UnknownHost, CrossOrigin: see the class.
        """
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = next((n for n, _ in scope["headers"] if n.startswith(FORWARDED)), None)
        if forwarded is not None and not self._is_proxy(peer):
            raise UnnamedProxy(
                f"the header {forwarded.decode('latin-1')} says that a proxy passed this request "
                f"on, and {peer or 'the sender'} is not named as one: if that proxy is yours, "
                f"start the service with SUBNET_TRUSTED_PROXIES={peer or 'its address'}"
            )
        hosts = _values(scope, b"host")
        here = scope["server"][0] if scope.get("server") else ""
        if len(hosts) != 1 or len(hosts[0]) > MAX_HOST or not self._is_named(hosts[0], here):
            got = " and ".join(host[:MAX_HOST] for host in hosts) or "none"
            raise UnknownHost(
                f"expected in Host a name that this service is known by, such as localhost, got "
                f"{got}: if it is to be reached by that name, start it with "
                "SUBNET_ALLOWED_HOSTS=NAME (several with commas)"
            )
        if scope["method"] not in READS:
            _check_same_origin(scope, hosts[0])

    def _find_host(self, text: str, here: str) -> bool:
        """Whether a Host header is one of ours; `here` is the address of our end."""
        try:
            host, port = read_host(text)
        except ValueError:
            return False
        named = self._settings.named_hosts
        return (
            is_loopback(host)
            # No name can be rebound to mean an address, so the socket's own needs no naming.
            or (is_address(host) and host == normal_host(here))
            or any((form, p) in named for form in _forms(host) for p in (None, port))
        )

    def _find_proxy(self, peer: str) -> bool:
        host = normal_host(peer)
        networks = self._settings.proxy_networks
        return is_address(host) and any(ip_address(host) in network for network in networks)


def _check_same_origin(scope: Message, host: str) -> None:
    """Refuse a change that a page of another origin asks for.

    Raises:
        CrossOrigin: if the browser says so.
    """
    sites, origins = _values(scope, b"sec-fetch-site"), _values(scope, b"origin")
    if sites:
        same, found = set(sites) <= {"same-origin", "none"}, f"Sec-Fetch-Site: {sites[0][:80]}"
    else:
        same = all(origin.partition("://")[2].lower() == host.lower() for origin in origins)
        found = f"Origin: {origins[0][:MAX_HOST]}" if origins else ""
    if not same:
        raise CrossOrigin(
            f"expected changes from programs and from this service's own page at {host}, got one "
            f"of another page ({found}). If that is this service's own page behind a proxy, have "
            "the proxy pass on the Host header"
        )


def _values(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _forms(host: str) -> Iterator[str]:
    """The entries that name a host: itself, its domains' `*.domain`, and `*`."""
    labels = host.split(".")
    yield host
    yield "*"
    for index in range(1, len(labels)):
        yield "*." + ".".join(labels[index:])
